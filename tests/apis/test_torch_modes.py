"""Models built and asked in any of torch's modes answer as in none; precisions differ little."""

from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch

from ovseg import OpenVocabSegmenter
from ovseg.torch_modes import evaluating, plain_torch

WORDS = 'sky; grass; water; red star'
# With the share of pixels that keep their label in half and in bfloat16.
MODELS = {'maskclip-tiny': (0.995, 0.98), 'ovseg-tiny': (0.99, 0.96)}
every_model = pytest.mark.parametrize('name', MODELS)


@contextmanager
def default_dtype(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


MODES = {
    'inference_mode': torch.inference_mode,
    'no_grad': torch.no_grad,
    'enable_grad': torch.enable_grad,
    'double': lambda: default_dtype(torch.float64),
    'default bfloat16': lambda: default_dtype(torch.bfloat16),
    'deterministic': deterministic,
    'meta': lambda: torch.device('meta'),
}


def picture():
    coarse = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
    return coarse.repeat(16, 0).repeat(16, 1)


_PLAIN = {}


def plain(name):
    """A segmenter without any mode, and its labels and scores."""
    if name not in _PLAIN:
        segment = OpenVocabSegmenter(name, device='cpu')
        _PLAIN[name] = segment, segment(picture(), WORDS, scores=True)
    return _PLAIN[name]


@every_model
@pytest.mark.parametrize('mode', MODES)
def test_built_and_asked_in_a_mode_is_built_and_asked_in_none(name, mode):
    used, wanted = plain(name)
    with MODES[mode]():
        default = torch.get_default_dtype()
        built = OpenVocabSegmenter(name, device='cpu')
        inside = [built(picture(), WORDS, scores=True), used(picture(), WORDS, scores=True)]
        kept = built.encode(picture())
        assert torch.get_default_dtype() == default
    after = [built(picture(), WORDS, scores=True), built(kept, WORDS, scores=True)]
    for found in inside + after:
        assert (found.labels == wanted.labels).all()
        assert np.array_equal(found.scores, wanted.scores) and found.scores.dtype == np.float32
    for weights in built.model.parameters():
        assert weights.dtype == torch.float32 and not weights.is_inference()


@every_model
def test_what_was_kept_in_a_mode_serves_a_training(name):
    """Position tables, classifiers and groups are made at the first question, in inference mode."""
    with torch.inference_mode():
        segment = OpenVocabSegmenter(name, device='cpu', vocabulary=WORDS)
        segment(picture())
    model = segment.model
    tower = model.clip.visual.requires_grad_(True)
    if name == 'maskclip-tiny':
        inputs = torch.rand(1, 3, 32, 32)
        scores = segment.question()[1].scores(model.encoder(inputs).patch)
        scores.sum().backward()
        assert tower.conv1.weight.grad.abs().sum() > 0


@every_model
def test_a_model_left_in_training_answers_as_in_evaluation(name):
    segment, wanted = plain(name)
    segment.model.train()
    try:
        assert (segment(picture(), WORDS).labels == wanted.labels).all()
        assert segment.model.training
    finally:
        segment.model.eval()


@every_model
def test_autocast_leaves_nothing_behind(name):
    _, wanted = plain(name)
    built = OpenVocabSegmenter(name, device='cpu')
    with torch.autocast('cpu', torch.bfloat16):
        rough = built(picture(), WORDS)
    assert (rough.labels == wanted.labels).mean() > 0.95
    assert (built(picture(), WORDS).labels == wanted.labels).all()


@every_model
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_give_nearly_the_same_labels(name, dtype):
    _, wanted = plain(name)
    segment = OpenVocabSegmenter(name, device='cpu', vocabulary=WORDS)
    segment.model.to(dtype)
    least = {torch.float16: MODELS[name][0], torch.bfloat16: MODELS[name][1]}.get(dtype, 1.0)
    assert (segment(picture()).labels == wanted.labels).mean() >= least
    new = segment(picture(), WORDS + '; heart')  # words that the float32 model never saw
    assert (new.labels == plain(name)[0](picture(), WORDS + '; heart').labels).mean() >= least
    assert next(segment.model.parameters()).dtype == dtype
    own = segment.model.data_preprocessor
    assert own.mean.dtype == torch.float32
    segment.model.float()
    assert torch.equal(own.mean, plain(name)[0].model.data_preprocessor.mean)
    assert (segment(picture(), WORDS).labels == wanted.labels).mean() >= least


def test_plain_torch_changes_nothing_where_nothing_is_set():
    with plain_torch():
        assert not torch.is_grad_enabled()
        assert not torch.ones(1).is_inference()
    assert torch.is_grad_enabled()
    with plain_torch(gradients=True):
        assert torch.is_grad_enabled()
    with torch.inference_mode(), plain_torch(gradients=True):
        assert not torch.is_grad_enabled() and not torch.ones(1).is_inference()


def test_evaluating_sets_back_what_was_training():
    model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout().eval()).train()
    model[1].eval()
    with pytest.raises(RuntimeError), evaluating(model):
        assert not any(part.training for part in model.modules())
        raise RuntimeError
    assert [part.training for part in model.modules()] == [True, True, False]
    with evaluating(model.eval()), nullcontext():
        assert not model.training
