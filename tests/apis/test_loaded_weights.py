"""Weights that are loaded into a segmenter's model count at the next question, in all it keeps."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from ovseg import OpenVocabSegmenter
from ovseg.errors import UserError

WORDS = 'sky; grass; red star'


def picture():
    return np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)


def other_weights(model):
    """The state of the model's CLIP, each weight a little off."""
    noise = torch.Generator().manual_seed(0)
    return {
        name: value + 0.3 * value.std() * torch.randn(value.shape, generator=noise)
        if value.is_floating_point() and value.numel() > 1
        else value
        for name, value in model.clip.state_dict().items()
    }


@pytest.mark.parametrize('name', ['maskclip-tiny', 'ovseg-tiny'])
def test_words_are_classified_anew_with_the_weights_that_were_loaded(name):
    segment, fresh = (OpenVocabSegmenter(name, device='cpu') for _ in range(2))
    before = segment(picture(), WORDS, scores=True).scores
    segment.model.set_vocabulary(WORDS)
    state = other_weights(segment.model)
    for one in (segment, fresh):
        one.model.clip.load_state_dict(state)
    after = segment(picture(), WORDS, scores=True).scores
    np.testing.assert_array_equal(after, fresh(picture(), WORDS, scores=True).scores)
    assert np.abs(after - before).max() > 0.01
    # So with the model's own words, by which mmseg's interfaces ask.
    fresh.model.set_vocabulary(WORDS)
    assert torch.equal(segment.model.classifier.weight, fresh.model.classifier.weight)


def test_what_other_weights_encoded_is_refused():
    """The visual tower alone changes: rows of words still fit the text tower."""
    segment = OpenVocabSegmenter('maskclip-tiny', device='cpu')
    encoded = segment.encode(picture())
    kept = pickle.dumps(encoded)
    labels = segment(encoded, WORDS).labels
    tower = segment.model.clip.visual
    before = {name: value.clone() for name, value in tower.state_dict().items()}
    tower.load_state_dict({name: value * 1.1 for name, value in before.items()})
    others = copy.copy(encoded), pickle.loads(kept), pickle.loads(pickle.dumps(encoded))
    for one in (encoded, *others):
        with pytest.raises(UserError, match='or with other weights'):
            segment(one, WORDS)
    segment(segment.encode(picture()), WORDS)
    # A file knows what it was made with, whatever was loaded meanwhile.
    tower.load_state_dict(before)
    assert (segment(pickle.loads(kept), WORDS).labels == labels).all()
