"""Encoded images are plain, small, and read by the model that made them wherever that runs."""

import copy
import inspect
import io
import pickle

import numpy as np
import pytest
import torch
from scripts import ROOT
from warm_processes import run_warm

from ovseg import OpenVocabSegmenter
from ovseg.errors import UserError

MODELS = ['maskclip-tiny', 'denseclip-tiny', 'ovseg-tiny']
every_model = pytest.mark.parametrize('name', MODELS)
WORDS = 'sky; grass; water; red star'


def picture(seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    return coarse.repeat(12, 0).repeat(12, 1)


_MADE = {}


def model(name):
    if name not in _MADE:
        _MADE[name] = OpenVocabSegmenter(name, device='cpu')
    return _MADE[name]


def ask(segment, image):
    return segment(image, None if segment.name == 'denseclip-tiny' else WORDS).labels


def features_of(encoded):
    features = encoded.encoding.features
    return getattr(features, 'patch', getattr(features, 'embeddings', None))


@every_model
def test_a_probe_is_trained_on_the_features(name):
    features = features_of(model(name).encode(picture()))
    assert not features.is_inference() and not features.requires_grad
    rows = features.movedim(1, -1).flatten(0, 2) if features.ndim == 4 else features
    probe = torch.nn.Linear(rows.shape[1], 2)
    torch.nn.functional.cross_entropy(
        probe(rows), torch.zeros(len(rows), dtype=torch.int64)
    ).backward()
    assert probe.weight.grad.abs().sum() > 0


@every_model
def test_a_pickle_holds_the_features_alone_and_is_asked_again(name):
    segment = model(name)
    batch = segment.encode([picture(seed) for seed in range(4)])
    labels = ask(segment, batch[2])
    content = pickle.dumps(batch[2])
    weights = sum(value.nbytes for value in segment.model.state_dict().values())
    assert len(content) < max(2e6, weights / 2)
    if name == 'maskclip-tiny':  # one image of the batch, not all of it
        assert len(content) < 1.1 * (features_of(batch[2]).nbytes + batch[2].image.nbytes) + 2e4
    again = pickle.loads(content)
    assert again.model is None and (ask(segment, again) == labels).all()
    stream = io.BytesIO()
    torch.save(batch[2], stream)
    stream.seek(0)
    assert (ask(segment, torch.load(stream, weights_only=False)) == labels).all()
    # Read once, it can be sent on.
    assert (ask(segment, pickle.loads(pickle.dumps(again))) == labels).all()


@every_model
def test_copies_are_asked_like_the_first(name):
    segment = model(name)
    encoded = segment.encode(picture())
    labels = ask(segment, encoded)
    copied = copy.deepcopy(encoded)
    assert copied.model is segment.model
    assert features_of(copied).data_ptr() != features_of(encoded).data_ptr()
    for other in (copied, copy.copy(encoded)):
        assert (ask(segment, other) == labels).all()
    assert (ask(copy.deepcopy(segment), encoded) == labels).all()


def test_another_process_with_the_same_model_reads_it(tmp_path):
    encoded = model('maskclip-tiny').encode(picture())
    (tmp_path / 'image.pkl').write_bytes(pickle.dumps(encoded))
    np.save(tmp_path / 'labels.npy', ask(model('maskclip-tiny'), encoded))
    script = tmp_path / 'asks.py'
    script.write_text(
        'import pickle, numpy as np; from pathlib import Path; from ovseg import '
        f'OpenVocabSegmenter as S; folder = Path({str(tmp_path)!r})\n'
        "image = pickle.loads((folder / 'image.pkl').read_bytes())\n"
        f"labels = S('maskclip-tiny', device='cpu')(image, {WORDS!r}).labels\n"
        "assert (labels == np.load(folder / 'labels.npy')).all(); print('same')\n"
    )
    done = run_warm(script)
    assert done.stdout == 'same\n', done.stderr


def test_other_weights_settings_and_models_refuse_it():
    encoded = pickle.loads(pickle.dumps(model('maskclip-tiny').encode(picture())))
    naclip = OpenVocabSegmenter(ROOT / 'configs/naclip/naclip_tiny.py', device='cpu')
    changed = copy.deepcopy(model('maskclip-tiny'))
    with torch.no_grad():
        changed.model.clip.visual.conv1.weight[0, 0, 0, 0] += 1e-3
    for other in (naclip, changed, model('ovseg-tiny')):
        with pytest.raises(UserError, match='was encoded by another model than'):
            other(encoded, WORDS)
    assert (ask(model('maskclip-tiny'), encoded) >= 0).all()


@every_model
def test_results_segmenters_and_their_members_can_be_listed_and_sent(name):
    segment = model(name)
    result = segment(picture(), None if name == 'denseclip-tiny' else WORDS)
    assert (pickle.loads(pickle.dumps(result)).labels == result.labels).all()
    again = pickle.loads(pickle.dumps(segment))
    assert (ask(again, picture()) == result.labels).all()
    members = dict(inspect.getmembers(segment))
    assert members['batch_size'] == 8 and set(dir(segment)) >= {'segment', 'encode'}
    for part in (segment.model, *segment.model.children()):
        assert dict(inspect.getmembers(part)) and repr(part)
    if name == 'ovseg-tiny':
        found = segment.segments(picture(), WORDS, score_threshold=0.0)
        assert (pickle.loads(pickle.dumps(found)).ids == found.ids).all()
