"""Segments of mask proposals: who competes, who wins, who is dropped, what merges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.regions.mask_maps import mask_maps, select_queries
from ovseg.regions.mask_segments import Segments, SegmentSettings, find_segments

WHOLE = MemoryBudget(1024)


def segments_of(masks: Tensor, class_scores, **asked) -> Segments:
    """Segments of masks (M, H, W) of probabilities, given as they are."""
    size = tuple(masks.shape[1:])
    maps = mask_maps(masks.logit(eps=1e-6), size, size)
    return find_segments(maps, torch.as_tensor(class_scores), size, WHOLE, **asked)


def columns(*probabilities: list[float]) -> Tensor:
    """Masks of one row of pixels each."""
    return torch.tensor(probabilities)[:, None]


def facts(found: Segments) -> list[tuple[int, int]]:
    return [(segment.label, segment.area) for segment in found.segments]


def test_things_stay_apart_and_are_numbered_by_score():
    masks = columns([0.9, 0.9, 0.1, 0.1], [0.1, 0.1, 0.1, 0.9])
    found = segments_of(masks, [[0.85, 0.1], [0.9, 0.05]])
    assert found.ids.dtype == torch.int32
    assert found.ids.tolist() == [[2, 2, 0, 1]]
    assert facts(found) == [(0, 1), (0, 2)]
    assert [segment.score for segment in found.segments] == pytest.approx([0.9, 0.85])
    assert [segment.box for segment in found.segments] == [(3, 0, 1, 1), (0, 0, 2, 1)]
    assert all(segment.is_thing for segment in found.segments)


def test_proposals_of_a_stuff_class_become_one_segment_with_the_best_score():
    masks = columns([0.9, 0.1, 0.1, 0.1], [0.1, 0.9, 0.1, 0.1], [0.1, 0.1, 0.1, 0.9])
    found = segments_of(masks, [[0.85, 0.1], [0.1, 0.88], [0.95, 0.0]], stuff={0})
    assert found.ids.tolist() == [[1, 2, 0, 1]]
    assert facts(found) == [(0, 2), (1, 1)]
    assert found.segments[0].score == pytest.approx(0.95)
    assert [segment.is_thing for segment in found.segments] == [False, True]
    assert found.segments[0].box == (0, 0, 4, 1)


def test_only_scores_above_the_threshold_compete():
    masks = columns([0.9, 0.9], [0.6, 0.6])
    scores = [[0.8, 0.2], [0.3, 0.9]]
    half = SegmentSettings(score_threshold=0.5)
    # 0.8 * 0.9 beats 0.9 * 0.6 where it may compete; at the threshold it may not.
    assert facts(segments_of(masks, scores, settings=half)) == [(0, 2)]
    exact = SegmentSettings(score_threshold=float(torch.tensor(0.8)))
    assert facts(segments_of(masks, scores, settings=exact)) == [(1, 2)]


def test_score_and_mask_together_decide():
    masks = columns([0.9, 0.8], [0.6, 0.9])
    anything = SegmentSettings(overlap_threshold=0)
    found = segments_of(masks, [[0.85, 0], [0, 0.99]], settings=anything)
    # 0.765 to 0.594, then 0.68 to 0.891.
    assert found.ids.tolist() == [[2, 1]]


def test_proposals_of_the_background_are_out_and_hide_nothing():
    masks = columns([0.95, 0.95], [0.6, 0.6])
    found = segments_of(masks, [[0.99, 0], [0, 0.9]], background=0)
    assert facts(found) == [(1, 2)]


@pytest.mark.parametrize(('threshold', 'kept'), [(0.75, True), (0.76, False)])
def test_a_mask_that_others_hide_too_much_is_dropped_and_nobody_inherits(threshold, kept):
    masks = columns([0.9, 0.9, 0.9, 0.9], [0.1, 0.1, 0.1, 0.95])
    settings = SegmentSettings(overlap_threshold=threshold)
    found = segments_of(masks, [[0.9, 0], [0, 0.95]], settings=settings)
    assert found.ids.tolist() == ([[2, 2, 2, 1]] if kept else [[0, 0, 0, 1]])


def test_pixels_that_the_winner_does_not_cover_belong_to_nobody():
    masks = columns([0.9, 0.49, 0.5])
    found = segments_of(masks, [[0.9, 0]])
    assert found.ids.tolist() == [[1, 0, 1]]
    lower = SegmentSettings(mask_threshold=0.4)
    assert segments_of(masks, [[0.9, 0]], settings=lower).ids.tolist() == [[1, 1, 1]]


def test_a_pixel_lost_to_a_mask_that_does_not_cover_it_counts_as_hidden():
    # The second covers all, but the first wins the last pixel with 0.99 * 0.45 and lacks it.
    masks = columns([0.9, 0.45], [0.51, 0.52])
    found = segments_of(masks, [[0.99, 0], [0, 0.82]])
    assert found.ids.tolist() == [[1, 0]]


def test_ties_go_to_the_first_proposal():
    masks = columns([0.9, 0.9], [0.9, 0.9])
    assert facts(segments_of(masks, [[0.9, 0], [0, 0.9]])) == [(0, 2)]
    assert facts(segments_of(masks, [[0.0, 0.9], [0.9, 0]])) == [(1, 2)]


def test_a_mask_without_a_pixel_is_no_segment():
    anything = SegmentSettings(overlap_threshold=0)
    found = segments_of(columns([0.4, 0.3]), [[0.9, 0]], settings=anything)
    assert not found.ids.any() and found.segments == ()


def test_no_proposals_at_all_give_an_empty_map():
    maps = mask_maps(torch.zeros(2, 4, 4), (4, 4), (4, 4))
    maps = select_queries(maps, torch.tensor([False, False]))
    found = find_segments(maps, torch.zeros(0, 3), (7, 9), WHOLE)
    assert found.ids.shape == (7, 9) and found.ids.dtype == torch.int32
    assert not found.ids.any() and found.segments == ()


def test_things_alone_are_numbered_anew():
    masks = columns([0.9, 0.1, 0.1, 0.1], [0.1, 0.9, 0.1, 0.1], [0.1, 0.1, 0.9, 0.1])
    found = segments_of(masks, [[0.1, 0.85], [0.95, 0], [0, 0.9]], stuff={0})
    assert found.ids.tolist() == [[3, 1, 2, 0]]
    things = found.things()
    assert things.ids.tolist() == [[2, 0, 1, 0]] and things.ids.dtype == torch.int32
    assert [(each.id, each.label) for each in things.segments] == [(1, 1), (2, 1)]
    assert segments_of(masks, [[0.1, 0.85]] * 3, stuff={1}).things().segments == ()


# Against the rule written down pixel by pixel ---------------------------------------------------


def slowly(masks, class_scores, stuff, background, settings):
    """Id map and (label, score, area) of the segments, in plain Python."""
    _, height, width = masks.shape
    competing = []
    for proposal, row in enumerate(class_scores.tolist()):
        label = max(range(len(row)), key=lambda index: (row[index], -index))
        if row[label] > settings.score_threshold and label != background:
            competing.append((-row[label], proposal, label))
    competing.sort()
    inside = {proposal: set() for _, proposal, _ in competing}
    won = {proposal: set() for _, proposal, _ in competing}
    for place in [(y, x) for y in range(height) for x in range(width)]:
        best = None
        for score, proposal, _ in competing:
            value = float(masks[(proposal, *place)])
            if value >= settings.mask_threshold:
                inside[proposal].add(place)
            if best is None or -score * value > best[0]:
                best = (-score * value, proposal)
        if best is not None and place in inside[best[1]]:
            won[best[1]].add(place)
    ids, found, merged = torch.zeros(height, width, dtype=torch.int32), [], {}
    for score, proposal, label in competing:
        own = won[proposal]
        if not own or len(own) / len(inside[proposal]) < settings.overlap_threshold:
            continue
        if label in merged:
            number = merged[label]
        else:
            found.append([label, -score, 0])
            number = len(found)
            if label in stuff:
                merged[label] = number
        found[number - 1][2] += len(own)
        for place in own:
            ids[place] = number
    return ids, found


@pytest.mark.parametrize('seed', range(12))
def test_random_masks_as_the_rule_says_in_any_strips(seed):
    torch.manual_seed(seed)
    padded, size = (16, 24), (13, 18)
    output = [(13, 18), (21, 11)][seed % 2]
    coarse = 4 * torch.randn(10, 3, 4)
    logits = F.interpolate(coarse[None], (8, 12), mode='bilinear')[0]
    scores = torch.rand(10, 4).clamp_min(0.3)
    settings = SegmentSettings(0.75, [0.1, 0.3, 0.5][seed % 3])
    stuff, background = {0, 2}, [None, 3][seed % 2]

    grown = F.interpolate(logits[None], padded, mode='bilinear')[..., : size[0], : size[1]]
    masks = F.interpolate(grown.sigmoid(), output, mode='bilinear')[0]
    ids, wanted = slowly(masks.double(), scores.double(), stuff, background, settings)
    assert wanted
    for budget in (MemoryBudget(1e-6), MemoryBudget(0.005), WHOLE):
        found = find_segments(
            *(mask_maps(logits, padded, size), scores, output, budget),
            **{'stuff': stuff, 'background': background, 'settings': settings},
        )
        assert torch.equal(found.ids, ids)
        for segment, (label, score, area) in zip(found.segments, wanted, strict=True):
            assert (segment.label, segment.area) == (label, area)
            assert segment.score == pytest.approx(score)
            assert segment.is_thing == (label not in stuff)
            left, top, width, height = segment.box
            outside = found.ids == segment.id
            assert outside[top].any() and outside[:, left].any()
            outside[top : top + height, left : left + width] = False
            assert not outside.any()


# What is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'score_threshold': 1.5}, 'score_threshold must be a number from 0 to 1, got 1.5'),
        ({'overlap_threshold': -0.1}, 'overlap_threshold .* got -0.1'),
        ({'overlap_threshold': True}, 'overlap_threshold .* got True'),
        ({'mask_threshold': '0.5'}, "mask_threshold .* got '0.5'"),
        ({'mask_threshold': 0}, 'mask_threshold must be above 0'),
        ({'score_threshold': float('nan')}, 'score_threshold .* got nan'),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        SegmentSettings(**settings)


@pytest.mark.parametrize('value', [1, 0.25, np.float32(0.25)])
def test_settings_take_any_number(value):
    settings = SegmentSettings(score_threshold=value)
    found = segments_of(columns([0.9, 0.9]), [[0.5, 0]], settings=settings)
    assert len(found.segments) == (value < 0.5)


def test_scores_that_do_not_fit_the_masks_are_named():
    with pytest.raises(UserError, match=r'1 masks need scores \(1, K\), got \(2, 2\)'):
        segments_of(columns([0.9]), [[0.9, 0], [0, 0.9]])
