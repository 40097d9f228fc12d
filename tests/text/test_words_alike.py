"""What vectors of words say against a vocabulary."""

from __future__ import annotations

import torch

from ovseg.text.vocabulary_check import check_vocabulary
from ovseg.vocabulary import Rejection, Vocabulary

VECTORS = {
    'cat': [1.0, 0.0, 0.0], 'kitten': [0.9, 0.3, 0.0], 'puma': [0.95, 0.05, 0.1],
    'sofa': [0.0, 1.0, 0.0], 'couch': [0.1, 1.0, 0.0], 'pet': [0.9, -0.1, 0.4],
    'wall': [0.0, 0.0, 1.0],
}  # fmt: skip


class Known:
    name, fingerprint, logit_scale = 'known', 'known', 100.0

    def encode(self, prompts):
        return torch.tensor([VECTORS[prompt] for prompt in prompts])


class Dictionary:
    encoder = {f'{word}</w>': number for number, word in enumerate(VECTORS) if word != 'puma'}


def checked(words, **settings):
    return check_vocabulary(Vocabulary.parse(words), Known(), 'none', **settings)


def test_near_classes_strange_synonyms_and_unknown_words_are_told():
    assert checked('cat, kitten; sofa, couch; wall') == []
    near, piece = checked('cat; puma; sofa', tokenizer=Dictionary())
    assert "'cat' and 'puma' are nearly one" in near and 'cosine 0.99' in near
    assert "'puma' is no word of the model's dictionary" in piece
    (strange,) = checked('cat; sofa, couch, pet')
    assert "'pet' of 'sofa' is nearer to 'cat'" in strange
    assert checked('cat; puma', near=0.999) == []


def test_a_background_is_compared_with_nothing():
    rule = Rejection('background', words=('puma', 'pet'))
    assert check_vocabulary(Vocabulary.parse('cat; sofa', rule), Known(), 'none') == []
