"""Which classes an image is asked for: by what a cheap look gives them, with bounds.

Two looks are known: SAM 3's own presence on a small image (ActiveSAM), and a dense model's shares
of patches (ours). Both give a number a class or phrase; here the numbers become a choice, and a
choice is measured against the classes that are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ovseg.errors import UserError

# Classes of a smaller share of an image's labelled pixels count apart.
_SMALL = 0.001


@dataclass(frozen=True)
class PreviewSettings:
    """A look by SAM 3 at a small image, that drops phrases of low presence.

    Attributes:
        size: side of the image in pixels.
        alpha: in [0, 1]; phrases of at least the quantile ``1 - alpha`` of all presences stay.
        at_most: phrases that stay; a vocabulary of no more gets no look.

    Raises:
        UserError: numbers out of range.

    Source: ActiveSAM (arXiv 2606.16996); default values of its release.
    """

    size: int = 672
    alpha: float = 0.2
    at_most: int = 40

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1 or self.at_most < 1 or self.size < 1:
            raise UserError(
                f'preview takes size and at_most of at least 1, alpha from 0 to 1, got {self}'
            )


def active_phrases(presence: Tensor, alpha: float, at_most: int) -> tuple[Tensor, float]:
    """Indices (A,), ascending, of the phrases that a preview keeps, and the quantile they reached.

    Args:
        presence: (P,) in [0, 1].
        alpha: see :class:`PreviewSettings`.
        at_most: likewise; among more the largest stay, of equal ones the first.

    Example:
        >>> active_phrases(torch.tensor([0.1, 0.9, 0.5, 0.2]), 0.5, 40)[0].tolist()
        [1, 2]
    """
    quantile = presence.float().quantile(1 - alpha)
    kept = (presence >= quantile).nonzero().flatten()
    if not len(kept):  # presences that are not numbers
        kept = presence.argmax()[None]
    if len(kept) > at_most:
        order = presence[kept].argsort(descending=True, stable=True)[:at_most]
        kept = kept[order].sort().values
    return kept, float(quantile)


@dataclass(frozen=True)
class KeepRule:
    """Which classes stay by a number for each.

    Attributes:
        threshold: classes with at least this number stay.
        at_least: so many stay whatever their numbers.
        at_most: no more stay, those that are always asked not counted; None for no bound.

    Raises:
        UserError: bounds that contradict each other.
    """

    threshold: float = 0.05
    at_least: int = 5
    at_most: int | None = 40

    def __post_init__(self) -> None:
        if self.at_least < 1 or (self.at_most is not None and self.at_most < self.at_least):
            raise UserError(
                'preselection.at_least must be at least 1 and not above at_most, got '
                f'{self.at_least} and {self.at_most}'
            )

    def kept(self, scores: Tensor, always: Iterable[int] = ()) -> Tensor:
        """Classes (A,) that stay, ascending.

        Args:
            scores: (K,) of the classes.
            always: classes that stay in any case.

        Example:
            >>> KeepRule(0.5, 1, 2).kept(torch.tensor([0.1, 0.9, 0.6, 0.7]), [0]).tolist()
            [0, 1, 3]
        """
        order = scores.argsort(descending=True, stable=True)
        count = max(int((scores >= self.threshold).sum()), self.at_least)
        order = order[: count if self.at_most is None else min(count, self.at_most)]
        marked = torch.tensor(sorted(set(always)), dtype=torch.int64, device=scores.device)
        return torch.cat([order, marked]).unique()


@dataclass(frozen=True)
class RecallPoint:
    """What asking some of the classes costs and loses, over a set of images.

    Attributes:
        asked: mean share of the classes that were asked.
        classes: share of the classes present, of any size, that were asked.
        large_classes: the same of classes with at least 0.1 % of an image's labelled pixels.
        pixels: share of the labelled pixels whose class was asked: what mIoU can lose at most.
    """

    asked: float
    classes: float
    large_classes: float
    pixels: float


def recall_at(kept: Sequence[Tensor], counts: Sequence[Tensor]) -> RecallPoint:
    """Recall of the present classes.

    Args:
        kept: for each image, indices of the classes that were asked.
        counts: for each image (K,), labelled pixels of each class.

    Raises:
        ValueError: not as many choices as images, or no labelled pixel.

    Example:
        >>> recall_at([torch.tensor([0])], [torch.tensor([3, 1])]).pixels
        0.75
    """
    if len(kept) != len(counts) or not counts:
        raise ValueError(f'{len(kept)} choices do not belong to {len(counts)} images')
    present = large = pixels = 0.0
    found = found_large = found_pixels = asked = 0.0
    for chosen, count in zip(kept, counts, strict=True):
        is_asked = torch.zeros(len(count), dtype=torch.bool, device=count.device)
        is_asked[chosen.to(count.device)] = True
        is_there, is_large = count > 0, count >= max(_SMALL * float(count.sum()), 1)
        present, found = present + int(is_there.sum()), found + int((is_there & is_asked).sum())
        large, found_large = (
            large + int(is_large.sum()),
            found_large + int((is_large & is_asked).sum()),
        )
        pixels, found_pixels = (
            pixels + float(count.sum()),
            found_pixels + float(count[is_asked].sum()),
        )
        asked += len(chosen) / len(count)
    if not pixels:
        raise ValueError('no pixel is labelled')
    return RecallPoint(
        asked / len(counts), found / present, found_large / max(large, 1), found_pixels / pixels
    )


def recall_curve(
    scores: Sequence[Tensor], counts: Sequence[Tensor], at: Sequence[int]
) -> list[RecallPoint]:
    """Recall against the share of classes asked, where the best so many classes are asked.

    Args:
        scores: for each image (K,), what a cheap look gives the classes.
        counts: for each image (K,), labelled pixels of each class.
        at: numbers of classes to ask.
    """
    return [
        recall_at([KeepRule(float('inf'), count, count).kept(each) for each in scores], counts)
        for count in at
    ]


def threshold_for(
    scores: Sequence[Tensor], counts: Sequence[Tensor], pixel_recall: float = 0.99
) -> float:
    """The largest threshold that keeps the classes of a share of the labelled pixels.

    To be chosen on images that are not those of a test.

    Args:
        scores: for each image (K,).
        counts: for each image (K,), labelled pixels.
        pixel_recall: in (0, 1].
    """
    values = torch.cat([each.float().flatten() for each in scores])
    weights = torch.cat([each.double().flatten() for each in counts])
    order = values.argsort(descending=True)
    covered = weights[order].cumsum(0) / weights.sum().clamp_min(1)
    reached = int((covered < pixel_recall - 1e-12).sum())
    return float(values[order[min(reached, len(order) - 1)]])
