"""Learned tokens among those of names; parity with CoOp is in tests/parity."""

from __future__ import annotations

import pytest
import torch
from tiny_clip_models import tiny_clip

from ovseg.errors import UserError
from ovseg.text.causal_tower import find_causal_tower
from ovseg.text.learned_contexts import (
    embed_with_contexts,
    encode_with_contexts,
    tokenize_for_contexts,
)

NAMES = ['cat', 'traffic_light']


@pytest.fixture(scope='module')
def clip():
    return tiny_clip('vit')


def words_of(clip, sentence, count):
    tokens = clip.tokenizer([sentence])[0, 1 : 1 + count]
    return clip.model.token_embedding(tokens).detach()


@pytest.mark.parametrize(
    ('position', 'sentence'),
    [('end', 'a photo of a {}.'), ('middle', 'a photo {} of a.'), ('front', '{} a photo of a.')],
)
def test_contexts_that_are_words_make_the_sentence_of_these_words(clip, position, sentence):
    tower = find_causal_tower(clip.model)
    names = tokenize_for_contexts(NAMES, 4, tower, clip.tokenizer)
    contexts = words_of(clip, 'a photo of a', 4)
    found = encode_with_contexts(names, contexts, position, tower)
    sentences = [sentence.format(name.replace('_', ' ')) for name in NAMES]
    wanted = clip.model.encode_text(clip.tokenizer(sentences), normalize=True)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_gradients_reach_the_contexts_of_their_own_class_alone(clip):
    tower = find_causal_tower(clip.model)
    names = tokenize_for_contexts(NAMES, 2, tower, clip.tokenizer)
    contexts = torch.randn(2, 2, words_of(clip, 'a', 1).shape[1], requires_grad=True)
    encode_with_contexts(names, contexts, 'end', tower)[0].sum().backward()
    assert contexts.grad[0].abs().sum() > 0 and not contexts.grad[1].any()


def test_what_does_not_fit_is_told(clip):
    tower = find_causal_tower(clip.model)
    with pytest.raises(UserError, match='shorten the name'):
        tokenize_for_contexts(['cat ' * 75], 2, tower, clip.tokenizer)
    names = tokenize_for_contexts(NAMES, 2, tower, clip.tokenizer)
    with pytest.raises(UserError, match="position must be one of .*'behind'"):
        embed_with_contexts(names, torch.zeros(2, 8), 'behind', tower)
    with pytest.raises(UserError, match='learned for 3 classes'):
        embed_with_contexts(names, torch.zeros(3, 2, 8), 'end', tower)
