"""Every segmentor: thin pictures, other precisions, damaged weights, members that can be listed."""

import copy
import inspect
from functools import cache

import pytest
import tiny_segmentors
import torch
from mmengine.registry import DefaultScope
from registered import build as build_part
from tiny_segmentors import CASES, CLIP_RESNET, config_of, pictures
from torch import nn

from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.registry import MODELS
from ovseg.segmentors.words import NoWords

THIN = ((1, 1), (1, 500), (500, 1), (3, 7), (2, 2), (31, 33))
SIZE = (50, 71)
every_segmentor = pytest.mark.parametrize('case', CASES)


@cache
def model_of(case):
    return tiny_segmentors.build(case)


def seen_by(model, images):
    kept = {'originals': None, 'names': None} | {
        key: getattr(images, key) for key in model.reads - {'paths'}
    }
    return Images(images.inputs, **kept)


@torch.no_grad()
def labels(model, size=SIZE):
    (encoding,) = model.encode(seen_by(model, pictures(size)))
    return model.segment(encoding, size).labels


@every_segmentor
def test_thin_and_tiny_pictures_get_labels_of_their_size(case):
    for size in THIN:
        found = labels(model_of(case), size)
        assert found.shape == size and found.min() >= 0 and found.max() < 4


def test_a_student_with_a_backbone_that_rounds_down_takes_them_too():
    config = config_of('MaskCLIPPlusSegmentor, student')
    config['backbone'] = {'type': 'CLIPResNet', 'layers': (1, 1, 1, 1), 'width': 8}
    config['decode_head']['decode_module']['in_channels'] = 256
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('ovseg'):
        model = MODELS.build(config).eval()
    for size in THIN:
        assert labels(model, size).shape == size


def skip_if_edges_cannot_be_repeated(dtype):
    try:
        torch.nn.functional.pad(torch.zeros(1, 1, 2, 2, dtype=dtype), (1,) * 4, mode='replicate')
    except RuntimeError as error:
        pytest.skip(f'torch {torch.__version__} cannot: {error}')


@every_segmentor
@pytest.mark.parametrize(
    ('dtype', 'least'), [(torch.float16, 0.98), (torch.bfloat16, 0.95), (torch.float64, 0.999)]
)
def test_another_precision_gives_nearly_the_same_labels(case, dtype, least):
    model = copy.deepcopy(model_of(case)).to(dtype)
    if any(getattr(part, 'padding_mode', '') == 'replicate' for part in model.modules()):
        skip_if_edges_cannot_be_repeated(dtype)
    wanted = labels(model_of(case))
    assert (labels(model) == wanted).float().mean() >= least
    # Back again, the constants are what they were; the weights have lost their digits.
    model.float()
    for name, value in model_of(case).named_buffers():
        if name.split('.')[-1] in ('mean', 'std', 'pixel_mean', 'pixel_std'):
            assert torch.equal(model.get_buffer(name), value)
    assert (labels(model) == wanted).float().mean() >= least


@every_segmentor
def test_members_are_listed_with_and_without_words(case):
    model = copy.deepcopy(model_of(case))
    assert dict(inspect.getmembers(model))['vocabulary'] is model.vocabulary
    model.words.vocabulary = None
    members = dict(inspect.getmembers(model))
    assert 'classifier' not in members and members['vocabulary'] is None
    assert not hasattr(model, 'classifier') and repr(model)
    with pytest.raises(NoWords, match='the model has no vocabulary; set model.vocabulary'):
        _ = model.classifier
    with pytest.raises(AttributeError, match='no attribute .nothing'):
        _ = model.nothing


@every_segmentor
def test_names_and_colours_are_those_of_the_words(case):
    model = model_of(case)
    model.dataset_meta = {'classes': ('road', 'car'), 'palette': [[0, 0, 0], [1, 1, 1]]}
    assert model.dataset_meta['classes'] == tuple(model.vocabulary.names)
    assert len(model.dataset_meta['palette']) == len(model.vocabulary)


@every_segmentor
def test_damaged_weights_are_said(case):
    model = copy.deepcopy(model_of(case))
    tower = getattr(getattr(model, 'mask_classifier', None), 'tower', None) or (
        model.sam3.model.vision_encoder
        if hasattr(model, 'sam3')
        else model.decode_head
        if hasattr(model, 'decode_head')
        else model.clip.get_submodule('visual')
    )
    layers = [part for part in tower.modules() if isinstance(part, (nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        layers[0].weight.fill_(float('nan'))
    images = pictures(SIZE)
    samples = None
    if model.reads:
        from mmseg.structures import SegDataSample

        samples = [SegDataSample(metainfo={'ori_shape': SIZE})]
        samples[0].original_image = images.originals[0]
    with pytest.raises(UserError, match='not numbers'):
        model.predict(images.inputs, samples)


@pytest.mark.parametrize('part', ['clip', 'proposals', 'backbone'])
def test_no_part_of_ovseg_is_damaged_in_silence(part):
    model = copy.deepcopy(model_of('OVSeg, ensemble'))
    with torch.no_grad():
        tower = model.clip.visual if part == 'clip' else getattr(model, part)
        for weight in tower.parameters():
            weight.fill_(float('nan'))
    with pytest.raises(UserError, match='not numbers'):
        model.predict(pictures(SIZE).inputs)


@every_segmentor
def test_what_mmseg_sets_for_every_model_is_taken(case):
    config = {**config_of(case), 'pretrained': None, 'train_cfg': None}
    with DefaultScope.overwrite_default_scope('ovseg'):
        assert MODELS.build(config).vocabulary is not None
        if CASES[case][0] != 'DenseCLIP':  # whose own setting it is
            with pytest.raises(UserError, match='model.pretrained=.x.pth. is read by no model'):
                MODELS.build({**config, 'pretrained': 'x.pth'})


def test_a_trained_model_takes_no_empty_checkpoint():
    model = copy.deepcopy(model_of('DenseCLIP, resnet'))
    with pytest.raises(UserError, match='DenseCLIP needs trained weights'):
        model.load_state_dict({}, strict=False)
    model_of('TrainingFreeSegmentor, plain').load_state_dict({}, strict=False)


def test_an_attention_pool_of_a_trained_backbone_takes_thin_pictures():
    backbone = build_part('CLIPResNetWithAttention', **CLIP_RESNET)
    assert backbone(torch.zeros(1, 3, 32, 500)).global_embedding.shape == (1, 12)
