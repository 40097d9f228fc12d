from __future__ import annotations

import pytest
import torch

from ovseg.errors import UserError
from ovseg.regions.region_scores import (
    EnsembleSettings,
    fuse,
    one_mask_a_class,
    proposal_probabilities,
    region_probabilities,
)
from ovseg.text.cosine import cosine_logits, with_no_object

VALID = torch.tensor([True, False, True, True])


def classifiers(classes=3):
    torch.manual_seed(0)
    logits = 3 * torch.randn(4, classes + 1)
    return proposal_probabilities(logits), torch.randn(int(VALID.sum()), classes).softmax(-1)


def test_no_object_takes_a_share_of_proposals_and_none_of_regions():
    torch.manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(3, 8), dim=-1)
    no_object, embeddings = 5 * torch.randn(1, 8), 4 * torch.randn(6, 8)
    text = with_no_object(rows, no_object)
    assert torch.equal(text[:3], rows)
    assert torch.allclose(text[3], no_object[0] / no_object.norm())
    assert torch.equal(with_no_object(rows, no_object[0]), text)
    logits = cosine_logits(embeddings, text)
    for query, embedding in enumerate(embeddings):
        cosines = torch.stack([torch.dot(embedding, row) / embedding.norm() for row in text])
        assert torch.allclose(logits[query], 100 * cosines, atol=1e-4)
        powers = (100 * (cosines - cosines.max())).double().exp()
        first = proposal_probabilities(logits)[query].double()
        assert torch.allclose(first, powers[:3] / powers.sum(), atol=1e-5)
        powers = (100 * (cosines[:3] - cosines[:3].max())).double().exp()
        second = region_probabilities(logits, 3)[query].double()
        assert torch.allclose(second, powers / powers.sum(), atol=1e-5)
    assert torch.equal(region_probabilities(logits[:, :3], 3), region_probabilities(logits, 3))


@pytest.mark.parametrize('weight', [0.7, 0.45, 1.0])
def test_the_ensemble_is_a_geometric_mean_in_which_invalid_masks_count_as_sure(weight):
    first, second = classifiers()
    fused = fuse(first, second, VALID, EnsembleSettings(weight=weight))
    assert fused.queries.tolist() == [0, 1, 2, 3]
    rows = iter(second)
    for query, valid in enumerate(VALID.tolist()):
        other = next(rows) if valid else torch.ones(3)
        expected = first[query] ** (1 - weight) * other**weight
        assert torch.allclose(fused.scores[query], expected)


def test_weight_zero_keeps_valid_masks_and_asks_clip_alone():
    first, second = classifiers()
    fused = fuse(first, second, VALID, EnsembleSettings(weight=0.0))
    assert fused.queries.tolist() == [0, 2, 3]
    assert torch.equal(fused.scores, second)


def test_without_the_ensemble_proposals_stand_as_they_are():
    first, second = classifiers()
    for given in (second, second[:0]):
        fused = fuse(first, given, VALID, EnsembleSettings(enabled=False))
        assert torch.equal(fused.scores, first) and fused.queries.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize('weight', [0.0, 0.7])
def test_where_no_mask_is_valid_proposals_decide_alone(weight):
    first, second = classifiers()
    nothing = torch.zeros(4, dtype=torch.bool)
    fused = fuse(first, second[:0], nothing, EnsembleSettings(weight=weight))
    assert torch.allclose(fused.scores, first ** (1 - weight))
    assert torch.equal(fused.scores.argmax(1), first.argmax(1))
    assert fused.queries.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize('weight', [0.0, 0.7])
def test_a_single_valid_mask_is_no_special_case(weight):
    first, second = classifiers()
    single = torch.tensor([False, False, True, False])
    fused = fuse(first, second[:1], single, EnsembleSettings(weight=weight))
    row = fused.queries.tolist().index(2)
    expected = second[0] if weight == 0 else first[2] ** (1 - weight) * second[0] ** weight
    assert torch.allclose(fused.scores[row], expected)
    assert len(fused.scores) == (1 if weight == 0 else 4)


def test_every_class_picks_its_best_mask_and_the_others_are_left_out():
    scores = torch.tensor([[0.2, 0.9, 0.1], [0.8, 0.3, 0.1], [0.3, 0.2, 0.7], [0.1, 0.4, 0.6]])
    picked = one_mask_a_class(scores)
    assert torch.equal(picked[:3], scores[:3]) and not picked[3].any()
    assert one_mask_a_class(scores, 1).any(1).tolist() == [False, True, False, False]
    assert torch.equal(one_mask_a_class(scores, 2), scores * torch.tensor([[1.0], [1], [0], [0]]))


def test_settings_and_counts_that_mean_nothing_are_named():
    for weight in (-0.1, 1.5):
        with pytest.raises(UserError, match=rf'ensemble.weight must lie in \[0, 1\], got {weight}'):
            EnsembleSettings(weight=weight)
    with pytest.raises(UserError, match="ensemble has no setting 'w'"):
        EnsembleSettings.from_config({'w': 0.7})
    assert EnsembleSettings.from_config({'weight': 0.6}) == EnsembleSettings(True, 0.6)
    first, second = classifiers()
    with pytest.raises(UserError, match='3 valid masks need as many regions, got 2'):
        fuse(first, second[:2], VALID, EnsembleSettings())
