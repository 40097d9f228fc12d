"""Products in bfloat16: what is cast, what stays, and that hardly a label moves."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import tiny_segmentors
import torch
from scripts import ROOT
from simultaneous import in_threads
from tiny_segmentors import CASES, pictures
from torch import nn

from ovseg import OpenVocabSegmenter
from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.precision import precision_of, set_precision

# The real one: all tests run with another, see conftest.py.
from ovseg.precision_choice import fastest_precision
from ovseg.scenes.draw import draw, whole
from ovseg.scenes.world import sample_scene

pytestmark = pytest.mark.filterwarnings('ignore:this processor has no instructions')
SIZE = (50, 71)
# Masks of a source and a stand-in that names them: nothing of it is an encoder of ours. FC-CLIP's
# network stays in float32 as a whole, as its release is evaluated.
WITHOUT_ENCODER = [
    case for case in CASES if case.startswith(('MaskSegmentor, regions', 'FCCLIP', 'MAFTPlus'))
]
# Parts of SAM 3's detector, which reads the encoded words: they are no text tower.
READS_WORDS = ('text_cross_attn', 'dot_product_scoring.text')
EMBEDDED = (
    *('clip/clip', 'maskclip/maskclip', 'sclip/sclip', 'clearclip/clearclip', 'naclip/naclip'),
    *('resclip/resclip', 'proxyclip/proxyclip', 'clip_dinoiser/clip_dinoiser'),
    *('trident/trident', 'ovseg/ovseg', 'denseclip-tiny'),
)
NORMS = (nn.LayerNorm, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)


def scene(number):
    found = sample_scene('heldout', number)
    return draw(found, whole(found, 1.0)).image


@torch.no_grad()
def labels(model):
    images = pictures(SIZE)
    kept = {'originals': None, 'names': None} | {
        key: getattr(images, key) for key in model.reads - {'paths'}
    }
    (encoding,) = model.encode(Images(images.inputs, **kept))
    return model.segment(encoding, SIZE).labels


@pytest.fixture(scope='module')
def quick():
    return OpenVocabSegmenter('maskclip-tiny', on='scenes', precision='bfloat16')


@pytest.mark.parametrize('case', [case for case in CASES if case not in WITHOUT_ENCODER])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_every_segmentor_multiplies_in_another_precision(case, dtype):
    model = tiny_segmentors.build(case)
    wanted, text = labels(model), getattr(model, 'text', None)
    space = text and text.space
    set_precision(model, torch.float32)
    assert precision_of(model) == 'float32' and torch.equal(labels(model), wanted)
    set_precision(model, dtype)
    assert precision_of(model) == str(dtype).removeprefix('torch.')
    cast = {name for name, value in model.named_parameters() if value.dtype == dtype}
    images = {name for name in cast if not any(part in name for part in READS_WORDS)}
    assert images and not any('text' in name or name == 'clip.transformer' for name in images)
    exact = [part for part in model.modules() if isinstance(part, NORMS)]
    assert all(v.dtype == torch.float32 for part in exact for v in part.parameters())
    assert (labels(model) == wanted).float().mean() >= 0.97
    assert (text and text.space) == space
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert precision_of(twin) == precision_of(model)
        assert torch.equal(labels(twin), labels(model))
    other = torch.float16 if dtype == torch.bfloat16 else torch.bfloat16
    for again in (torch.float32, other):
        with pytest.raises(UserError, match='were rounded to b?float16; build it anew for'):
            set_precision(model, again)
    # torch's own casts take the whole model, and nothing is left of ours.
    model.float()
    assert precision_of(model) == 'float32'
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert (labels(model) == wanted).float().mean() >= 0.97


@pytest.mark.parametrize('name', EMBEDDED)
def test_hardly_a_label_of_the_shipped_models_moves(name):
    config = name if '-' in name else ROOT / 'configs' / f'{name}_tiny.py'
    segment = OpenVocabSegmenter(config, on='scenes', precision='float32')
    settings = segment.model.inference_settings
    if settings.mode != 'whole':  # overlaps of seven eighths take minutes
        segment.model.inference_settings = replace(settings, stride=(32, 32))
    image = scene(0)
    exact = segment(image)
    set_precision(segment.model, torch.bfloat16)
    assert segment.precision == 'bfloat16' and "precision='bfloat16'" in repr(segment)
    rounded = segment(image)
    assert 0 < (exact.labels != rounded.labels).mean() < 0.005
    seen = np.bincount(exact.labels.ravel(), minlength=len(exact.names)) > 200
    assert seen.sum() > 1
    np.testing.assert_allclose(rounded.mean_scores[seen], exact.mean_scores[seen], atol=0.02)


@pytest.mark.gpu
@pytest.mark.parametrize('name', ['maskclip/maskclip', 'naclip/naclip', 'denseclip-tiny'])
def test_hardly_a_label_moves_on_a_gpu(name):
    config = name if '-' in name else ROOT / 'configs' / f'{name}_tiny.py'
    segment = OpenVocabSegmenter(config, device='cuda', on='scenes', precision='float32')
    exact = segment(scene(0)).labels
    set_precision(segment.model, fastest_precision(segment.device))
    assert (segment(scene(0)).labels != exact).mean() < 0.005


def test_float32_is_what_it_was():
    plain = OpenVocabSegmenter('maskclip-tiny', on='scenes', precision='float32')
    assert plain.precision == 'float32' and 'precision' not in repr(plain)
    assert {value.dtype for value in plain.model.parameters()} == {torch.float32}
    assert not any('precision_of_products' in vars(part) for part in plain.model.modules())


def test_threads_that_share_a_model_get_the_same_labels(quick):
    images = [scene(0), scene(1)]
    wanted = [quick(image).labels for image in images]
    found = in_threads(lambda number: quick(images[number % 2]).labels, 4)
    assert all(np.array_equal(labels, wanted[number % 2]) for number, labels in enumerate(found))
    assert not torch.is_autocast_enabled('cpu')


def test_an_encoded_image_serves_its_own_precision_alone(quick):
    encoded = pickle.loads(pickle.dumps(quick.encode(scene(0))))
    assert np.array_equal(quick(encoded).labels, quick(scene(0)).labels)
    exact = OpenVocabSegmenter('maskclip-tiny', on='scenes', precision='float32')
    with pytest.raises(UserError, match='settings or precision'):
        exact(encoded)


def test_damaged_weights_are_said():
    segment = OpenVocabSegmenter('maskclip-tiny', on='scenes', precision='bfloat16')
    with torch.no_grad():
        segment.model.encoder.visual.conv1.weight.fill_(float('nan'))
    with pytest.raises(UserError, match='features that are not numbers'):
        segment(scene(0))


def test_rounded_weights_are_not_saved():
    trained = OpenVocabSegmenter('denseclip-tiny', precision='bfloat16')
    with pytest.raises(UserError, match="rounded to bfloat16; build it with precision='float32'"):
        trained.model.state_dict()
    trained.model.float()
    assert {v.dtype for v in trained.model.state_dict().values() if v.is_floating_point()} == {
        torch.float32
    }


def test_frozen_weights_are_saved_by_nobody(quick):
    assert quick.model.state_dict() == {}


@pytest.mark.parametrize('case', WITHOUT_ENCODER)
def test_a_model_without_an_encoder_says_so_and_stays_as_it_is_under_auto(case, monkeypatch):
    model = tiny_segmentors.build(case)
    with pytest.raises(UserError, match=r'\w has no encoder that computes in another precision'):
        set_precision(model, 'bfloat16')
    monkeypatch.setenv('OVSEG_PRECISION', 'bfloat16')
    set_precision(model, 'auto')
    assert precision_of(model) == 'float32'
    plain = OpenVocabSegmenter('maskclip-tiny')
    assert plain.precision == 'bfloat16'
