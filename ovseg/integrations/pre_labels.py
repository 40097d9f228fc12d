"""Masks of the labels of a tool's project, which are words as they stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ovseg.apis.bridges.named_mask import NamedMask
from ovseg.apis.segmenter import OpenVocabSegmenter
from ovseg.apis.tasks import TASKS, no_words
from ovseg.errors import UserError, nearest
from ovseg.images.reading import ImageSource
from ovseg.vocabulary.parsing import folded
from ovseg.vocabulary.rejection import BACKGROUND
from ovseg.zoo import DEFAULT_MODEL


@dataclass(frozen=True)
class PreLabels:
    """What is asked of the images of a project; the model is built at the first.

    Tools hand texts over, so an empty one counts as nothing said.

    Attributes:
        model: a name of ``ovseg.list_models()``, or the path of a config.
        checkpoint: CLIP weights, or the checkpoint of a trained model.
        device: such as ``cuda``; by default a GPU if there is one.
        background: words for "none of these", such as ``sky, wall``. Without them every pixel gets
            one of the labels (one label alone gets a background).
        threshold: in [0, 1]; pixels that are less sure are background, segments that are no surer
            are none. None for the model's rule.
        task: ``semantic``, or ``instance`` or ``panoptic`` for things apart, with a model that
            proposes masks.
        stuff: which of the labels are no things, such as ``sky; grass``; for segments.
        min_pixels: connected parts with fewer pixels are left unlabelled.

    Raises:
        UserError: an unknown task, fewer pixels than none.
    """

    model: str = DEFAULT_MODEL
    checkpoint: str = ''
    device: str = ''
    background: str = ''
    threshold: float | None = None
    task: str = 'semantic'
    stuff: str = ''
    min_pixels: int = 0

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise UserError(
                f'task must be one of {", ".join(TASKS)}, got {self.task!r}.'
                + nearest(self.task, TASKS)
            )
        if not isinstance(self.min_pixels, int) or self.min_pixels < 0:
            raise UserError(
                f'min_pixels must be a whole number from 0 on, got {self.min_pixels!r}.'
            )

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> PreLabels:
        """From settings that a person gave to a tool.

        Raises:
            UserError: one that there is not, or with such a value.
        """
        known = [field.name for field in fields(cls)]
        for name in settings:
            if name not in known:
                raise UserError(
                    f'There is no setting {name!r}, use {", ".join(known)}.' + nearest(name, known)
                )
        return cls(**settings)

    @cached_property
    def segmenter(self) -> OpenVocabSegmenter:
        """The model, built when it is first asked for."""
        return OpenVocabSegmenter(
            self.model,
            self.checkpoint or None,
            self.device or None,
            background=self.background or None,
        )

    def masks(self, image: ImageSource, labels: Mapping[str, str]) -> list[NamedMask]:
        """The masks of the labels that are in an image.

        Args:
            image: whatever :func:`~ovseg.images.reading.load_rgb` reads.
            labels: of the project, in order, each with its words: commas separate words for the
                same, and ``_`` reads as a blank.

        Returns:
            Largest first, segments surest first; ``label`` is the position among the labels,
            ``name`` the label as it was given. What is background, also by a label of that name,
            is left out.

        Raises:
            UserError: no labels, two that are the same words, an image that cannot be read.
        """
        words = {
            label: [each for each in text.replace('_', ' ').split(',') if each.strip()]
            for label, text in labels.items()
            # Where words stand for it, the tool's own background is no class beside it.
            if not self.background or folded(label) != BACKGROUND
        }
        if not words:
            raise no_words()
        _check_are_different(words)
        if self.task == 'semantic':
            result = self.segmenter.segment(image, words, threshold=self.threshold)
            found = result.named_masks()
        else:
            segments = self.segmenter.segments(
                image,
                words,
                task=self.task,
                stuff=self.stuff or None,
                score_threshold=self.threshold,
            )
            found = segments.named_masks()
        places = {label: place for place, label in enumerate(labels)}
        cleaned = [
            replace(each, mask=without_specks(each.mask, self.min_pixels), label=places[each.name])
            for each in found
            if folded(each.name) != BACKGROUND
        ]
        return [each for each in cleaned if each.pixels]


def _check_are_different(words: Mapping[str, list[str]]) -> None:
    """Stops where two labels share a word: the first would get all pixels of both."""
    owner: dict[str, str] = {}
    for label, prompts in words.items():
        for word in prompts:
            other = owner.setdefault(folded(word), label)
            if other != label:
                raise UserError(
                    f'The labels {other!r} and {label!r} share the word {word.strip()!r}, so only '
                    'one of them could be found: rename or remove one.'
                )


def without_specks(mask: npt.NDArray[np.bool_], least: int) -> npt.NDArray[np.bool_]:
    """A mask without its connected parts of fewer pixels than ``least``.

    Args:
        mask: (H, W) bool.
        least: pixels that a part must have; pixels that touch at a corner alone are not connected.

    Example:
        >>> without_specks(np.array([[1, 1, 0, 1]], bool), 2).astype(int).tolist()
        [[1, 1, 0, 0]]
    """
    if least <= 1:
        return mask
    parts, _ = ndimage.label(mask)
    large = np.bincount(parts.ravel()) >= least
    large[0] = False
    kept: npt.NDArray[np.bool_] = large[parts]
    return kept
