"""Rows of images beside the words of a class."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from vector_worlds import VectorWorld, support_from

from ovseg.errors import UserError
from ovseg.exemplars import RULES
from ovseg.exemplars.multi_modal import split_patches
from ovseg.text import Classifier
from ovseg.vocabulary import Rejection


def support_of(words, vectors, classes):
    """A support of pooled vectors alone, an image each."""
    none, images = torch.zeros(0, dtype=torch.int64), torch.arange(len(vectors))
    vectors = F.normalize(vectors.double(), dim=1)
    return support_from(
        words, vectors, torch.tensor(classes), images, vectors[:0], none, vectors.mean(0)
    )


def words_of(rows):
    return Classifier(
        F.normalize(torch.tensor(rows), dim=1), torch.arange(len(rows)), len(rows), 40.0
    )


def test_patches_split_into_groups_alike_at_every_call():
    centres = torch.eye(3, 6)
    noise = 0.05 * torch.randn(30, 6, generator=torch.Generator().manual_seed(0))
    patches = centres.repeat_interleave(10, 0) + noise
    found, shares = split_patches(patches[torch.randperm(30)], 3)
    assert torch.allclose((found @ centres.T).amax(0), torch.ones(3), atol=0.02)
    assert torch.allclose(shares, torch.full((3,), 1 / 3))
    assert len(split_patches(torch.ones(5, 4), 3)[0]) == 1
    assert torch.equal(split_patches(patches, 2)[0], split_patches(patches, 2)[0])
    with pytest.raises(UserError, match='0 patches'):
        split_patches(torch.zeros(0, 4), 2)


def test_a_class_of_two_looks_has_a_row_for_each():
    words = words_of([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0]])
    vectors = torch.tensor([[1.0, 0.0, 1.5, 1.0], [1.0, 0.0, 1.5, -1.0], [0.0, 1.0, 1.5, 0.0]])
    support = support_of(words, vectors, [0, 0, 1])
    found = RULES['multi-modal'](support, groups=2, spread=1.0)
    assert found.class_index.tolist() == [0, 0, 0, 1, 1, 2]
    assert found.origin == (*('derived', 'exemplar', 'exemplar'), 'derived', 'exemplar', 'derived')
    assert found.row_weight.tolist() == [0.5, 0.25, 0.25, 0.5, 0.5, 1.0]
    own = found.weight[1:3] @ F.normalize(vectors[:2], dim=1).T
    assert sorted(own.argmax(1).tolist()) == [0, 1] and (own.amax(1) > 0.99).all()
    together = RULES['multi-modal'](support, groups=2, spread=0.0)
    assert torch.allclose(together.weight[1], together.weight[2])


def test_a_class_scores_on_its_own_patches_as_its_prototype():
    world = VectorWorld.make(6, 32, 0)
    support = world.support(3, torch.tensor([0, 1, 3]))
    found, plain = RULES['multi-modal'](support), RULES['proto'](support)
    for label in (0, 1, 3):
        patches = support.samples[support.sample_entry == label].float().T[None, :, :, None]
        own, wanted = (each.scores(patches)[0, label].mean() for each in (found, plain))
        torch.testing.assert_close(own, wanted, rtol=1e-3, atol=1e-3)


def test_entries_of_a_class_without_examples_share_it():
    rows = F.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    words = Classifier(rows, torch.tensor([0, 1, 1, 2]), 3, 100.0, aggregation='max')
    found = RULES['multi-modal'](support_of(words, rows[:1] + 0.1, [0]))
    assert found.row_weight.tolist() == [0.5, 0.5, 0.5, 0.5, 1.0]
    assert found.class_index.tolist() == [0, 0, 1, 1, 2]


def test_a_rule_of_rejection_is_that_of_the_words():
    world = VectorWorld.make(6, 32, 0)
    support = world.support(2, torch.arange(6))
    rejection = Rejection('threshold', 0.9)
    words = replace(support.words, num_classes=7, rejection=rejection, background_index=6)
    found = RULES['multi-modal'](replace(support, words=words))
    pixels = torch.randn(1, 32, 5, 8, generator=torch.Generator().manual_seed(3))
    rule = found.rule()
    labels = rule.decide(found.row_scores(pixels))
    best = rule.probabilities(found.row_scores(pixels))[:, :6].amax(1)
    scores = found.row_scores(pixels)
    logits = found.logit_scale * scores + found.row_weight.log()[:, None, None]
    energy = rule.evidence(scores).energy * found.logit_scale
    torch.testing.assert_close(energy, -logits.logsumexp(1), rtol=1e-4, atol=1e-4)
    assert torch.equal(labels == 6, best < 0.9) and 0 < int((labels == 6).sum()) < labels.numel()


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'groups': 0}, 'groups of multi-modal must be a number from 1'),
        ({'groups': 1.5}, 'groups of multi-modal must be a number from 1'),
        ({'spread': 1.5}, 'spread of multi-modal must be from 0 to 1'),
    ],
)
def test_settings_that_cannot_be_are_said(settings, message):
    support = VectorWorld.make(6, 32, 0).support(1, torch.arange(6))
    with pytest.raises(UserError, match=message):
        RULES['multi-modal'](support, **settings)
