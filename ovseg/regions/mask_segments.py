"""From mask proposals and their class scores to segments, each pixel in one of them or in none.

Proposals that are sure of a class compete for the pixels. Things stay apart, one segment a
proposal; the proposals of a stuff class become one segment.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.regions.mask_maps import masks_at, select_queries
from ovseg.scores.row_map import RowMap, WindowMaps


@dataclass(frozen=True)
class SegmentSettings:
    """Which proposals become segments.

    Attributes:
        score_threshold: in [0, 1]; only proposals whose best class scores above it compete.
            Published 0.8 (COCO) and 0.7 (ADE20K).
        overlap_threshold: in [0, 1]; a proposal keeps its pixels if it wins at least this share of
            its mask. Published 0.8.
        mask_threshold: in (0, 1]; a pixel is in a mask if its probability is at least this.
            Published 0.5.
        won_counts: pixels that a mask wins without covering them count as won, though nobody gets
            them, as Mask2Former's release and its heirs have it.
        in_query_order: segments are numbered, and ties decided, in the order of the proposals
            instead of by their scores; likewise.

    Raises:
        UserError: a value out of range.
    """

    score_threshold: float = 0.8
    overlap_threshold: float = 0.8
    mask_threshold: float = 0.5
    won_counts: bool = False
    in_query_order: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, bool):
                continue
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            if not is_number or not 0 <= value <= 1:
                raise UserError(f'{field.name} must be a number from 0 to 1, got {value!r}')
        if not self.mask_threshold > 0:
            raise UserError('mask_threshold must be above 0, or every mask is the whole image')


@dataclass(frozen=True)
class Segment:
    """One segment of an image.

    Attributes:
        id: its value in the id map, from 1.
        label: index of its class.
        score: of its proposal for the class, in [0, 1]; of the surest one where several merged.
        area: in pixels.
        is_thing: whether it is one thing, not all that there is of a stuff.
        box: (x, y, width, height) in pixels.
    """

    id: int
    label: int
    score: float
    area: int
    is_thing: bool
    box: tuple[int, int, int, int]

    def coco_record(self, category_id: int) -> dict[str, Any]:
        """The segment as COCO's panoptic files list it; the score comes on top of the format.

        Args:
            category_id: of its class.
        """
        return {
            'id': self.id,
            'category_id': category_id,
            'area': self.area,
            'bbox': list(self.box),
            'iscrowd': 0,
            'score': self.score,
        }


@dataclass(frozen=True, eq=False)
class Segments:
    """The segments of an image.

    Attributes:
        ids: (H, W) int32, the segment of each pixel; 0 where there is none.
        segments: in the order of their ids: 1, 2, ..., the surest first unless asked otherwise.
    """

    ids: Tensor
    segments: tuple[Segment, ...]

    def things(self) -> Segments:
        """The things among them, numbered anew."""
        things = [segment for segment in self.segments if segment.is_thing]
        numbers = torch.zeros(len(self.segments) + 1, dtype=torch.int32, device=self.ids.device)
        for number, segment in enumerate(things, 1):
            numbers[segment.id] = number
        return Segments(
            numbers[self.ids.long()],
            tuple(replace(segment, id=number) for number, segment in enumerate(things, 1)),
        )


def find_segments(
    maps: WindowMaps,
    class_scores: Tensor,
    output_size: tuple[int, int],
    budget: MemoryBudget,
    *,
    stuff: Collection[int] = frozenset(),
    background: int | None = None,
    settings: SegmentSettings | None = None,
    masks_of: Callable[[WindowMaps, tuple[int, int]], RowMap] = masks_at,
) -> Segments:
    """Segments of an image from its masks.

    A proposal has the class that it scores highest. Of those above the score threshold, the
    background's left out, the one with the largest ``score * mask`` wins a pixel, and the pixel is
    its own if its mask covers it. Where it wins too little of its mask, the proposal is dropped and
    nobody inherits its pixels.

    Args:
        maps: of :func:`~ovseg.regions.mask_maps.mask_maps`, M masks.
        class_scores: (M, K) in [0, 1]; -inf for a class that no mask can have.
        output_size: (H, W) of the original image.
        budget: what a strip of the masks may take.
        stuff: classes that are no things.
        background: the class that is no segment, or None.
        settings: see :class:`SegmentSettings`.
        masks_of: makes masks in [0, 1] at the image's own size of logits.

    Raises:
        UserError: not one row of scores a mask.

    Source: MaskFormer (arXiv 2107.06278) section 3.4, general inference, with thresholds of its
    release. There a pixel may go to a mask that does not cover it, and such pixels count as won;
    Mask2Former's release leaves them to nobody, as here. They do not count here, which is the
    paper's "occluded part of the binary mask".
    """
    settings = settings or SegmentSettings()
    count = maps.channels
    if class_scores.ndim != 2 or len(class_scores) != count:
        raise UserError(f'{count} masks need scores ({count}, K), got {tuple(class_scores.shape)}')
    size = (output_size[0], output_size[1])
    scores, labels = class_scores.float().max(1)
    competes = scores > settings.score_threshold
    if background is not None:
        competes &= labels != background
    order = torch.arange(count, device=scores.device)
    if not settings.in_query_order:
        order = scores.argsort(descending=True, stable=True)
    order = order[competes[order]]
    if not len(order):
        return Segments(torch.zeros(size, dtype=torch.int32, device=scores.device), ())
    masks = masks_of(select_queries(maps, order), size)
    winners, areas, won = _contest(masks, scores[order], budget, settings.mask_threshold)
    own = torch.bincount(winners.flatten(), minlength=len(order) + 1)[1:]
    counted = won if settings.won_counts else own
    is_kept = [
        owned > 0 and count / area >= settings.overlap_threshold
        for owned, count, area in zip(own.tolist(), counted.tolist(), areas.tolist(), strict=True)
    ]
    return _number(winners, is_kept, labels[order].tolist(), scores[order], stuff)


def _contest(
    masks: RowMap, scores: Tensor, budget: MemoryBudget, mask_threshold: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Who gets each pixel (H, W) int32, from 1, 0 for nobody; masks' areas and wins (M,) int64."""
    winners = torch.empty(masks.size, dtype=torch.int32, device=scores.device)
    areas = torch.zeros(len(scores), dtype=torch.int64, device=scores.device)
    won = torch.zeros_like(areas)
    for start, stop in masks.strips(budget):
        rows = masks.rows(start, stop)
        is_covered = rows >= mask_threshold
        # As numbers: torch sums up truth values twice as slowly.
        areas += is_covered.view(torch.uint8).flatten(1).sum(1, dtype=torch.int32)
        best = _strongest(rows, scores)
        won += torch.bincount(best.flatten(), minlength=len(scores))
        own = is_covered.gather(0, best[None])[0]
        winners[start:stop] = (best + 1) * own
    return winners, areas, won


def _strongest(rows: Tensor, scores: Tensor) -> Tensor:
    """The mask with the largest score * mask at each pixel, (H, W) int64; ties go to the first.

    Not in half precision: near ties decide who wins.
    """
    if rows.device.type != 'cpu':
        return (rows.float() * scores[:, None, None]).argmax(0)
    # One mask after the other stays in the processor's caches: more than twice as fast there.
    largest = rows[0].float() * scores[0]
    strongest = torch.zeros_like(largest, dtype=torch.int64)
    for number in range(1, len(rows)):
        weighed = rows[number].float() * scores[number]
        strongest.masked_fill_(weighed > largest, number)
        torch.maximum(largest, weighed, out=largest)
    return strongest


def _number(
    winners: Tensor,
    is_kept: Sequence[bool],
    labels: Sequence[int],
    scores: Tensor,
    stuff: Collection[int],
) -> Segments:
    """Segments of the proposals that are kept, those of a stuff class as one."""
    number_of: list[int] = [0]
    of_stuff: dict[int, int] = {}
    first: list[int] = []
    surest: list[float] = []
    for proposal, (kept, label) in enumerate(zip(is_kept, labels, strict=True)):
        if not kept:
            number_of.append(0)
        elif label in of_stuff:
            number_of.append(of_stuff[label])
            surest[of_stuff[label] - 1] = max(surest[of_stuff[label] - 1], float(scores[proposal]))
        else:
            first.append(proposal)
            surest.append(float(scores[proposal]))
            number_of.append(len(first))
            if label in stuff:
                of_stuff[label] = len(first)
    numbers = torch.tensor(number_of, dtype=torch.int32, device=winners.device)
    ids = numbers[winners.long()]
    areas = torch.bincount(ids.flatten(), minlength=len(first) + 1).tolist()
    segments = tuple(
        Segment(
            id=number,
            label=labels[proposal],
            score=surest[number - 1],
            area=areas[number],
            is_thing=labels[proposal] not in stuff,
            box=_box(ids == number),
        )
        for number, proposal in enumerate(first, 1)
    )
    return Segments(ids, segments)


def _box(mask: Tensor) -> tuple[int, int, int, int]:
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top
