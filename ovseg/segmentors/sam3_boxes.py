"""Boxes in an image as examples of a class, good and bad, beside its phrases or in their place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from ovseg.errors import UserError, nearest
from ovseg.exemplars.marks import box_mask
from ovseg.segmentors.sam3_words import KEY_BYTES, PhraseClassifier

# What SAM 3 is asked with where boxes alone say what is meant.
VISUAL = 'visual'

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class ShownBoxes:
    """Boxes of an image that say what a class means there.

    Attributes:
        boxes: centre x, centre y, width and height in [0, 1] of the image's sides.
        labels: of each box: 1, such things are meant; 0, such things are not.
        with_words: whether they stand beside the class's phrases, or in their place.
    """

    boxes: tuple[Box, ...]
    labels: tuple[int, ...]
    with_words: bool = True

    @property
    def digest(self) -> bytes:
        """What tells these boxes from others."""
        return blake2b(repr(self).encode(), digest_size=KEY_BYTES).digest()

    def tensors(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (1, n, 4) float32 and labels (1, n) int64 on a device."""
        boxes = torch.tensor([self.boxes], dtype=torch.float32, device=like.device)
        return boxes, torch.tensor([self.labels], device=like.device)


Shown = tuple[tuple[str, ShownBoxes], ...]


def shown_boxes(
    boxes: Iterable[Sequence[float]],
    absent: Iterable[Sequence[float]],
    size: tuple[int, int],
    with_words: bool = True,
) -> ShownBoxes:
    """Boxes in pixels as SAM 3 takes them; what is outside of the image is cut off.

    Args:
        boxes: (x1, y1, x2, y2) around things that are meant, end exclusive.
        absent: likewise, around things that are not.
        size: (H, W) of the image in pixels.
        with_words: see :class:`ShownBoxes`.

    Raises:
        UserError: no box, one of other than four numbers or outside of the image, or only bad
            examples without a word.
    """
    good, bad = list(boxes), list(absent)
    if not good and not bad:
        raise UserError('give at least one box (x1, y1, x2, y2) in pixels')
    if not good and not with_words:
        raise UserError(
            'boxes of what is not meant need words or a box of what is: give boxes=, or leave '
            'words=True'
        )
    found: list[Box] = []
    for box in (*good, *bad):
        rows, columns = box_mask(box, size).nonzero()
        top, bottom = rows.min() / size[0], (rows.max() + 1) / size[0]
        left, right = columns.min() / size[1], (columns.max() + 1) / size[1]
        centre = (float(left + right) / 2, float(top + bottom) / 2)
        found.append((*centre, float(right - left), float(bottom - top)))
    return ShownBoxes(tuple(found), (1,) * len(good) + (0,) * len(bad), with_words)


def shown_labels(shown: Shown, asked: PhraseClassifier) -> dict[int, ShownBoxes]:
    """Boxes by the class's index.

    Args:
        shown: by the class's name.
        asked: classifier of the words.

    Raises:
        UserError: boxes of a class that is not asked for.
    """
    names = list(asked.vocabulary.names)
    for name, _ in shown:
        if name not in names:
            raise UserError(
                f'boxes were shown of {name!r}, which is none of the classes that are asked for.'
                f'{nearest(name, names)}'
            )
    return {names.index(name): boxes for name, boxes in shown}


def keys_beside(asked: PhraseClassifier, shown: Mapping[int, ShownBoxes]) -> list[bytes]:
    """A key of each phrase by its tokens and the boxes beside it.

    Args:
        asked: classifier of the words.
        shown: of :func:`shown_labels`.
    """
    keys: list[bytes] = []
    for key, label in zip(asked.keys, asked.class_index.tolist(), strict=True):
        boxes: Any = shown.get(label)
        if boxes is not None:
            # Without words all phrases of the class are the same question.
            key = (key if boxes.with_words else b'') + boxes.digest
        keys.append(key)
    return keys
