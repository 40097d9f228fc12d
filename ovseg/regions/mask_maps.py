"""Masks of an image as maps, and class scores as sums of masks, without a map a class at full size.

The score map of a class is the sum of all masks, each weighed by its score for the class. That is
linear in the masks, and so is the resize to the image's own size: the masks are resized instead,
strip by strip, and the classes are summed up in chunks of which only the best so far is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from typing_extensions import override

from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.scores.row_map import ALL, Channels, Pointwise, RowMap, WindowMaps, resized

# Classes summed up at a time: fewer make matrix products slow.
_CLASSES_AT_ONCE = 256
# Sums held at a time on a CPU, 1 MB: they are compared while they are still in its caches.
_SUMS_IN_CACHE = 2**18
# Masks resized at a time on a CPU, temporaries included: of larger strips each has memory of its
# own, fresh from the system, and resize and sigmoid take nearly twice as long.
_MEGABYTES_ON_CPU = 64


def mask_maps(logits: Tensor, padded_size: tuple[int, int], size: tuple[int, int]) -> WindowMaps:
    """Mask logits as maps that reach over the padding at the right and the bottom.

    Args:
        logits: (Q, h, w), over the padded image.
        padded_size: (height, width) of the padded image in pixels.
        size: (H, W) of the image in it.

    Raises:
        UserError: an image that is larger than its padded one.
    """
    bottom, right = (padded - side for padded, side in zip(padded_size, size, strict=True))
    if min(bottom, right) < 0:
        raise UserError(
            f'an image of {tuple(size)} pixels does not fit into the padded {tuple(padded_size)}'
        )
    return WindowMaps(logits[None], [(0, 0, *size)], (size[0], size[1]), (0, bottom, 0, right))


def select_queries(maps: WindowMaps, queries: Tensor) -> WindowMaps:
    """The maps of some queries.

    Args:
        maps: of :func:`mask_maps`.
        queries: (M,) indices, or (Q,) bool.
    """
    return replace(maps, maps=maps.maps[:, queries])


def mask_probabilities(maps: WindowMaps) -> Tensor:
    """Masks (Q, H, W) in [0, 1] at the size of the network's image.

    Logits are resized to the padded size and cut; only then comes the sigmoid.

    Args:
        maps: of :func:`mask_maps`.
    """
    if not maps.channels:  # which torch's resize refuses
        return maps.like.new_empty(0, *maps.size)
    return maps.rows(0, maps.size[0]).sigmoid()


def masks_at(maps: WindowMaps, size: tuple[int, int]) -> RowMap:
    """Masks in [0, 1] at the size of the image itself: the sigmoid lies between the two resizes.

    Args:
        maps: of :func:`mask_maps`.
        size: (H, W) of the original image.
    """
    return resized(Pointwise(maps, torch.sigmoid), size)


def masks_resized_first(maps: WindowMaps, size: tuple[int, int]) -> RowMap:
    """Masks in [0, 1] at the size of the image itself: the sigmoid comes after both resizes.

    Args:
        maps: of :func:`mask_maps`.
        size: (H, W) of the original image.
    """
    return Pointwise(resized(maps, size), torch.sigmoid)


def strips_of_masks(masks: RowMap, budget: MemoryBudget) -> Iterator[tuple[int, int]]:
    """``(start, stop)`` of strips in which masks are read, small ones on a CPU.

    Args:
        masks: at the size of the image itself.
        budget: what a strip may take at most.
    """
    if masks.like.device.type == 'cpu':
        budget = MemoryBudget(min(budget.megabytes, _MEGABYTES_ON_CPU))
    return masks.strips(budget)


@dataclass(frozen=True, eq=False)
class WeighedMasks(RowMap):
    """Score maps (K): masks (M) weighed by their scores and summed; 0 where there is no mask.

    Attributes:
        masks: M maps in [0, 1].
        scores: (M, K).

    Raises:
        UserError: not one row of scores a mask.

    Source: OVSeg (arXiv 2210.04150) and MaskFormer (arXiv 2107.06278), semantic inference. They
    resize the score maps, which is the same up to rounding.
    """

    masks: RowMap
    scores: Tensor

    def __post_init__(self) -> None:
        count = self.masks.channels
        if self.scores.ndim != 2 or len(self.scores) != count:
            raise UserError(
                f'{count} masks need scores ({count}, K), got {tuple(self.scores.shape)}'
            )

    @property
    @override
    def size(self) -> tuple[int, int]:
        return self.masks.size

    @property
    @override
    def channels(self) -> int:
        return self.scores.shape[1]

    @property
    @override
    def like(self) -> Tensor:
        return self.scores.new_empty(0, dtype=torch.float32)

    @property
    @override
    def values_a_row(self) -> float:
        count = self.masks.channels
        if not count:
            return self.channels * self.size[1]
        # The sums of all rows at once, and what the decision makes of them.
        return self.masks.values_a_row * (count + 2 * self.channels) / count

    @override
    def rows(self, start: int, stop: int, channels: Channels = ALL) -> Tensor:
        if not self.masks.channels:
            return self._zeros(start, stop, self.scores[:, channels].shape[1])
        return sum_of_masks(self.masks.rows(start, stop), self.scores[:, channels])

    @override
    def largest(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        if not self.masks.channels:
            nothing = self._zeros(start, stop)
            return nothing, nothing.long()
        return best_classes(self.masks.rows(start, stop), self.scores)

    @override
    def total(self, start: int, stop: int) -> Tensor:
        if bool((self.scores < 0).any()):
            return super().total(start, stop)
        if not self.masks.channels:
            return self._zeros(start, stop)
        return sum_of_masks(self.masks.rows(start, stop), self.scores.sum(1, keepdim=True))[0]

    @override
    def strips_of_largest(self, budget: MemoryBudget) -> Iterator[tuple[int, int]]:
        return strips_of_masks(self.masks, budget) if self.masks.channels else self.strips(budget)

    def _zeros(self, start: int, stop: int, *channels: int) -> Tensor:
        return self.like.new_zeros(*channels, stop - start, self.size[1])


def sum_of_masks(masks: Tensor, class_scores: Tensor) -> Tensor:
    """Score maps (K, ...): masks (M, ...) weighed by scores (M, K) and summed.

    Args:
        masks: (M, H, W) in [0, 1].
        class_scores: (M, K).
    """
    # Not in half precision, whatever the encoders run in: near ties decide labels.
    with torch.autocast(masks.device.type, enabled=False):
        sums = class_scores.float().T @ masks.float().flatten(1)
    return sums.unflatten(1, masks.shape[1:])


def best_classes(
    masks: Tensor, class_scores: Tensor, at_once: int = _CLASSES_AT_ONCE
) -> tuple[Tensor, Tensor]:
    """The largest of :func:`sum_of_masks`, which is never held for all classes.

    Args:
        masks: (M, H, W) in [0, 1].
        class_scores: (M, K).
        at_once: classes summed up at a time.

    Returns:
        (H, W) float32 sums and (H, W) int64 classes; ties go to the first class.

    Example:
        >>> best_classes(torch.eye(3)[:, None], torch.tensor([[1., 0], [0, 2], [3, 4]]), 1)[1]
        tensor([[0, 1, 1]])
    """
    pixels, at_once = masks.flatten(1), min(at_once, class_scores.shape[1])
    # A GPU wants large products; there the sums may take as much as the masks.
    sums = _SUMS_IN_CACHE if masks.device.type == 'cpu' else max(_SUMS_IN_CACHE, masks.numel())
    parts = [
        _best_of_chunks(part, class_scores, at_once)
        for part in pixels.split(max(1, sums // at_once), dim=1)
    ]
    values, labels = (
        torch.cat(each).unflatten(0, masks.shape[1:]) for each in zip(*parts, strict=True)
    )
    return values, labels


def _best_of_chunks(pixels: Tensor, class_scores: Tensor, at_once: int) -> tuple[Tensor, Tensor]:
    """Sums (N,) and labels (N,) of masks at some pixels (M, N)."""
    # With classes side by side in memory their maximum is found five times faster.
    largest, labels = sum_of_masks(class_scores[:, :at_once], pixels).max(1)
    for start in range(at_once, class_scores.shape[1], at_once):
        part = sum_of_masks(class_scores[:, start : start + at_once], pixels)
        best, index = part.max(1)
        is_better = best > largest
        labels = torch.where(is_better, index + start, labels)
        largest = torch.where(is_better, best, largest)
    return largest, labels
