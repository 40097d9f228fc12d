"""Segments of OVSeg: which scores its proposals bring into the contest."""

from __future__ import annotations

import pytest
import torch
from tiny_ovseg import MEAN, STD, build, give_masks
from torch import Tensor
from torch.nn import functional as F

from ovseg.budget import MemoryBudget
from ovseg.images import Images
from ovseg.regions.mask_segments import SegmentSettings
from ovseg.segmentors.mask_adapted_clip import OVSeg
from ovseg.segmentors.mask_segmentor import ProposalEncoding
from ovseg.vocabulary import Rejection

SIZE, ORIGINAL = (64, 96), (61, 90)
ANY = SegmentSettings(score_threshold=0.0, overlap_threshold=0.0)


def quarters(strength: float = 8.0) -> Tensor:
    """Logits (4, 16, 24) of masks that share the image out."""
    logits = torch.full((4, 16, 24), -strength)
    for query in range(4):
        top, left = 8 * (query // 2), 12 * (query % 2)
        logits[query, top : top + 8, left : left + 12] = strength
    return logits


def encoded(model: OVSeg, logits: Tensor) -> ProposalEncoding:
    give_masks(model, logits)
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(1, 3, 5, 7, generator=generator) * 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    image = F.interpolate(coarse, SIZE, mode='bilinear').round()
    return model.encode(Images((image - mean) / std))[0]


@pytest.mark.parametrize('ensemble', [{'enabled': False}, {'weight': 0.7}, {'weight': 0.0}])
def test_each_proposal_is_a_segment_of_its_best_class(ensemble):
    model = build(ensemble=ensemble)
    encoding = encoded(model, quarters())
    found = model.find_segments(encoding, ORIGINAL, settings=ANY)
    scores = model.score_proposals(encoding, model.classifier).scores
    best, labels = scores.max(1)
    order = best.argsort(descending=True)
    assert [segment.label for segment in found.segments] == labels[order].tolist()
    assert [segment.score for segment in found.segments] == pytest.approx(best[order].tolist())
    # Four quarters: their corners tell which proposal has which id.
    corners = found.ids[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.tolist() == [order.tolist().index(query) + 1 for query in range(4)]
    assert found.ids.shape == ORIGINAL


def test_strips_do_not_change_the_segments():
    model = build()
    encoding = encoded(model, quarters())
    whole = model.find_segments(encoding, ORIGINAL, settings=ANY)
    strips = model.find_segments(encoding, ORIGINAL, settings=ANY, budget=MemoryBudget(0.01))
    assert torch.equal(whole.ids, strips.ids) and whole.segments == strips.segments


def test_stuff_merges_whatever_the_proposals():
    model = build()
    encoding = encoded(model, quarters())
    found = model.find_segments(encoding, ORIGINAL, stuff={0, 1, 2, 3}, settings=ANY)
    labels = model.score_proposals(encoding, model.classifier).scores.argmax(1)
    assert sorted(segment.label for segment in found.segments) == labels.unique().tolist()
    assert not any(segment.is_thing for segment in found.segments)


def test_a_mask_that_clip_never_saw_hides_none_that_it_saw():
    # Under the region's threshold of 0.4 everywhere: there p2 is 1, published so.
    logits = quarters()
    logits[0] = -0.5
    model = build(ensemble={'weight': 0.9})
    encoding = encoded(model, logits)
    assert encoding.features.valid.tolist() == [False, True, True, True]
    scores = model.score_proposals(encoding, model.classifier).scores
    assert scores[0].max() > scores[1:].max()
    found = model.find_segments(encoding, ORIGINAL, settings=ANY)
    assert len(found.segments) == 3 and (found.ids[:28, :42] == 0).all()
    assert (found.ids[-1, -1] > 0) and found.segments[0].score < scores[0].max()


def test_no_mask_that_clip_saw_gives_no_segment():
    model = build()
    encoding = encoded(model, torch.full((3, 16, 24), -0.5))
    found = model.find_segments(encoding, ORIGINAL, settings=ANY)
    assert found.segments == () and not found.ids.any()


def test_other_words_and_their_background():
    model = build()
    encoding = encoded(model, quarters())
    labels = model.score_proposals(encoding, model.classifier).scores.argmax(1).tolist()
    words = ('cat', 'sofa', 'wall', 'sky')
    out = words[labels[0]]
    asked = '; '.join(word for word in words if word != out)
    model.set_vocabulary(asked, Rejection('background', words=(out,)))
    found = model.find_segments(encoding, ORIGINAL, settings=ANY)
    assert model.classifier.background_index == 0
    assert len(found.segments) == 4 - labels.count(labels[0])
    assert all(segment.label > 0 for segment in found.segments)


def test_the_best_synonym_is_the_score_of_its_class():
    # Four words by the best synonym: two rows are the class "cat".
    model = build(
        text={'templates': 'single', 'cache_dir': None, 'logit_scale': 100, 'combine': 'max'}
    )
    encoding = encoded(model, quarters())
    apart = model.score_proposals(encoding, model.classifier).scores
    model.set_vocabulary('cat, sofa; wall; sky')
    assert len(model.classifier.weight) == 4
    found = model.find_segments(encoding, ORIGINAL, settings=ANY)
    best, rows = apart.max(1)
    order = best.argsort(descending=True)
    wanted = (rows[order] - 1).clamp_min(0).tolist()
    assert [segment.label for segment in found.segments] == wanted
    assert [segment.score for segment in found.segments] == pytest.approx(best[order].tolist())
