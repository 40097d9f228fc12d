"""Pseudo labels: which pixels get one, when, from whom, and which are not trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.scores.encoding import ImageEncoding
from ovseg.scores.row_map import RowMap, WindowMaps, resized
from ovseg.settings import read_settings

UNLABELLED = -1
_STRIPS = MemoryBudget(128)

Window = tuple[int, int | None]


@dataclass(frozen=True)
class Distillation:
    """An L1 loss between the student's features and the teacher's unit ones.

    Attributes:
        labelled: over all pixels that are not ignored; else over unlabelled ones only.
        weight: of the loss.
        gradient: whether it trains. The released code detaches the student's features, so its
            term is reported and trains nothing: that is the default here, for the same numbers.
    """

    labelled: bool = True
    weight: float = 1.0
    gradient: bool = False


@dataclass(frozen=True)
class PseudoLabelSettings:
    """The ``pseudo_labels`` of a MaskCLIP+ segmentor; iterations count from 1.

    Attributes:
        categories: classes that an unlabelled pixel may have; None for all but a learned
            background. Annotation-free training has all, zero-shot training the unseen ones.
        clip_guided: (first, last) iteration in which the frozen teacher labels; last None or
            negative for no end; None for never.
        self_training: the same for the student's own predictions.
        conf_thresh: **every** pixel whose best score is lower becomes unlabelled, a truly labelled
            one too; 0 for none. In units of the score: a cosine, or a probability where the teacher
            smooths by keys; in self-training the student's score.
        distill: fields of :class:`Distillation`, instead of labels.

    Raises:
        UserError: windows that overlap, or settings that exclude each other.

    Source: MaskCLIP (arXiv 2112.01071) section 3.3.
    """

    categories: tuple[int, ...] | None = None
    clip_guided: Window | None = (1, None)
    self_training: Window | None = None
    conf_thresh: float = 0.0
    distill: Distillation | None = None

    def __post_init__(self) -> None:
        """Checks the settings against each other."""
        if self.categories is not None:
            categories = tuple(self.categories)
            if not categories or len(set(categories)) < len(categories) or min(categories) < 0:
                raise UserError(
                    'pseudo_labels.categories must be different class numbers from 0, '
                    f'got {list(categories)}'
                )
            object.__setattr__(self, 'categories', categories)
        for name in ('clip_guided', 'self_training'):
            object.__setattr__(self, name, _window(name, getattr(self, name)))
        if isinstance(self.distill, Mapping):
            object.__setattr__(
                self, 'distill', read_settings(Distillation, self.distill, 'pseudo_labels.distill')
            )
        if self.distill is not None and (self.clip_guided or self.self_training):
            raise UserError(
                'pseudo_labels.distill replaces labels: set clip_guided=None and self_training=None'
            )
        first, second = self.clip_guided, self.self_training
        if first and second and _reaches(first, second) and _reaches(second, first):
            raise UserError(
                f'pseudo_labels.clip_guided {first} and self_training {second} overlap: a pixel '
                'would get two labels; let one end before the other begins'
            )

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None) -> PseudoLabelSettings:
        """Returns the settings that a config names.

        Args:
            config: fields by name, or None for the defaults.

        Raises:
            UserError: unknown field, or values that do not fit.
        """
        return read_settings(cls, config, 'pseudo_labels')

    def phase(self, iteration: int) -> str | None:
        """Who labels in an iteration: ``'clip_guided'``, ``'self_training'`` or nobody.

        Args:
            iteration: counted from 1.
        """
        for name in ('clip_guided', 'self_training'):
            window = getattr(self, name)
            if window and window[0] <= iteration and (window[1] is None or iteration <= window[1]):
                return name
        return None


def _window(name: str, value: Sequence[int | None] | None) -> Window | None:
    if value is None:
        return None
    first, last = value if len(value) == 2 else (None, None)
    if not isinstance(first, int) or first < 1:
        raise UserError(
            f'pseudo_labels.{name} must be (first, last) iteration, counted from 1, got {value!r}'
        )
    last = None if last is None or last < 0 else last
    if last is not None and last < first:
        raise UserError(f'pseudo_labels.{name} ends before it begins: {first}, {last}')
    return first, last


def _reaches(first: Window, second: Window) -> bool:
    return first[1] is None or first[1] >= second[0]


def best_class(scores: RowMap) -> tuple[Tensor, Tensor]:
    """The best score of each pixel and its row, without a score map at full size.

    Args:
        scores: of one image.

    Returns:
        (H, W) float32 scores and (H, W) int64 row numbers.
    """
    parts = [scores.largest(start, stop) for start, stop in scores.strips(_STRIPS)]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def assign_labels(
    labels: Tensor, scores: Sequence[RowMap], categories: Tensor, conf_thresh: float = 0.0
) -> Tensor:
    """Labels for the pixels that have none.

    Args:
        labels: (B, H, W) int64; -1 is unlabelled.
        scores: of each image, one map a category, at the labels' size or another.
        categories: (P,) class numbers of the rows.
        conf_thresh: see :class:`PseudoLabelSettings`.

    Returns:
        (B, H, W): -1 only where a score was too low. A batch without an unlabelled pixel passes as
        it is, whatever its scores.
    """
    if not bool((labels < 0).any()):
        return labels
    assigned = []
    for given, maps in zip(labels, scores, strict=True):
        best, row = best_class(resized(maps, (given.shape[0], given.shape[1])))
        filled = torch.where(given < 0, categories[row], given)
        if conf_thresh > 0:
            filled = filled.masked_fill(best < conf_thresh, UNLABELLED)
        assigned.append(filled)
    return torch.stack(assigned)


def distillation_loss(
    features: Tensor,
    taught: Sequence[ImageEncoding],
    labels: Tensor,
    settings: Distillation,
    ignore_index: int,
) -> Tensor:
    """Mean absolute difference of the student's features and the teacher's unit ones.

    Args:
        features: (B, D, h, w) of the student, not normalised.
        taught: the teacher's features of each image.
        labels: (B, H, W) int64, -1 where unlabelled; both kinds of features are resized to them.
        settings: over which pixels, with what weight, and whether it trains.
        ignore_index: label of ignored pixels.

    Returns:
        A scalar; 0 if no pixel is asked.
    """
    size = tuple(labels.shape[-2:])
    features = features if settings.gradient else features.detach()
    is_asked = labels != ignore_index if settings.labelled else labels < 0
    total = features.sum() * 0
    # One image at a time: features at full size are as large as hundreds of images.
    for own, encoding, mask in zip(features, taught, is_asked, strict=True):
        patch = encoding.features.patch
        unit = patch / patch.norm(dim=1, keepdim=True)
        maps = WindowMaps(unit, encoding.boxes, encoding.input_size, encoding.margins)
        target = maps.rows(0, size[0])
        own = F.interpolate(own[None], size, mode='bilinear', align_corners=False)[0]
        total = total + ((own - target).abs() * mask).sum()
    count = is_asked.sum().clamp_min(1) * features.shape[1]
    return settings.weight * total / count
