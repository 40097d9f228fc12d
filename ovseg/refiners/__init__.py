"""Refiners: score maps of a patch grid in, better ones out.

A refiner is a registered callable: ``(scores (B, P, h, w), features, classifier) -> scores``, with
the optional features that it reads (``needs``) and whether it gives probabilities.

A pixel refiner works at the image's own size instead, strip by strip (``segmentors/pixel_stage``):
it makes something of the image once a strip (``prepare``), refines some score maps with it
(``__call__``), and says how many rows away a pixel can matter (``reach``).

``SAMPrompts`` reads coarse labels and makes new ones, by a SAM that has encoded the same image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ovseg.encoders.dense import DenseFeatures
from ovseg.errors import UserError
from ovseg.refiners.key_smoothing import KeyNorm, key_smoothing
from ovseg.refiners.learned_background import learned_background
from ovseg.refiners.pamr import local_affinity, propagate
from ovseg.refiners.prompt_denoising import CLIP_SCALE, prompt_denoising
from ovseg.refiners.sam_prompts import SAMPrompts
from ovseg.registry import MODELS
from ovseg.text.classifier import Classifier

__all__ = [
    'PAMR',
    'KeySmoothing',
    'LearnedBackground',
    'PromptDenoising',
    'SAMPrompts',
    'ScoreSoftmax',
    'key_smoothing',
    'learned_background',
    'prompt_denoising',
]


def _check_threshold(value: float, where: str) -> None:
    if not 0 <= value <= 1:
        raise UserError(f'{where}.threshold must lie in [0, 1], got {value}')


@MODELS.register_module()
@dataclass(frozen=True)
class PromptDenoising:
    """See :func:`~ovseg.refiners.prompt_denoising.prompt_denoising`.

    Attributes:
        threshold: in [0, 1]; published 0.5.
    """

    threshold: float = 0.5
    needs = frozenset()
    gives_probabilities = False

    def __post_init__(self) -> None:
        """Checks the threshold."""
        _check_threshold(self.threshold, 'PromptDenoising')

    def __call__(self, scores: Tensor, features: DenseFeatures, classifier: Classifier) -> Tensor:
        """(B, P, h, w) cosines -> cosines, or -100 for denoised classes."""
        return prompt_denoising(scores, self.threshold)


@MODELS.register_module()
@dataclass(frozen=True)
class KeySmoothing:
    """See :func:`~ovseg.refiners.key_smoothing.key_smoothing`.

    Attributes:
        threshold: in [0, 1]; published 1.0.
        norm: ``'tokens'`` for the published numbers.
    """

    threshold: float = 1.0
    norm: KeyNorm = 'tokens'
    needs = frozenset({'keys'})
    gives_probabilities = True

    def __post_init__(self) -> None:
        """Checks the threshold and the axis."""
        _check_threshold(self.threshold, 'KeySmoothing')
        if self.norm not in ('tokens', 'channels'):
            raise UserError(f"KeySmoothing.norm must be 'tokens' or 'channels', got '{self.norm}'")

    def __call__(self, scores: Tensor, features: DenseFeatures, classifier: Classifier) -> Tensor:
        """(B, P, h, w) cosines -> smoothed probabilities."""
        return key_smoothing(scores, features.keys, self.threshold, self.norm)


@MODELS.register_module()
@dataclass(frozen=True)
class ScoreSoftmax:
    """Probabilities at feature resolution, before upsampling, as CLIP-DINOiser's MaskCLIP has them.

    Attributes:
        scale: temperature.
    """

    scale: float = CLIP_SCALE
    needs = frozenset()
    gives_probabilities = True

    def __call__(self, scores: Tensor, features: DenseFeatures, classifier: Classifier) -> Tensor:
        """(B, P, h, w) cosines -> probabilities over the rows."""
        return (scores * self.scale).softmax(dim=1)


@MODELS.register_module()
@dataclass(frozen=True)
class LearnedBackground:
    """See :func:`~ovseg.refiners.learned_background.learned_background`.

    It reads probabilities, so :class:`ScoreSoftmax` comes before it, and the foreground that a
    guide found. Vocabularies without words for a background stay as they are.

    Attributes:
        certainty: in [0, 1]; published 0.99.
    """

    certainty: float = 0.99
    needs = frozenset()
    gives_probabilities = True

    def __post_init__(self) -> None:
        """Checks the certainty."""
        if not 0 <= self.certainty <= 1:
            raise UserError(f'LearnedBackground.certainty must lie in [0, 1], got {self.certainty}')

    def __call__(self, scores: Tensor, features: DenseFeatures, classifier: Classifier) -> Tensor:
        """(B, P, h, w) probabilities -> the same, 1 for the background where it is surely that."""
        if features.foreground is None:
            raise UserError(
                'LearnedBackground needs a guide that finds the foreground; set model.guide '
                '(DINOiserGuide, or DINOTeacher with found) or take it out of model.refiners'
            )
        if classifier.background_index is None:
            return scores
        rows = (classifier.class_index == classifier.background_index).nonzero()[:, 0]
        return learned_background(scores, features.foreground, rows, self.certainty)


@MODELS.register_module()
@dataclass(frozen=True)
class PAMR:
    """Pixel refiner; see :mod:`ovseg.refiners.pamr`.

    Attributes:
        steps: rounds; published with NACLIP 10.
        dilations: distances of the neighbours in pixels; published 8 and 16.
    """

    steps: int = 10
    dilations: Sequence[int] = (8, 16)

    def __post_init__(self) -> None:
        """Checks the numbers."""
        object.__setattr__(self, 'dilations', tuple(self.dilations))
        if self.steps < 1 or not self.dilations or min(self.dilations) < 1:
            raise UserError(
                'PAMR.steps and each of PAMR.dilations must be at least 1, got '
                f'{self.steps} and {self.dilations}; set model.pixel_refiner=None for no PAMR'
            )

    @property
    def reach(self) -> int:
        """Rows beyond which nothing of an image or its scores matters to a pixel."""
        return self.steps * max(self.dilations)

    @property
    def planes(self) -> int:
        """How many values a pixel has in what :meth:`prepare` returns."""
        return 8 * len(self.dilations)

    def prepare(self, image: Tensor) -> Tensor:
        """(C, H, W) image, normalised -> affinities (planes, H, W)."""
        return local_affinity(image, self.dilations)

    def __call__(self, scores: Tensor, prepared: Tensor) -> Tensor:
        """(P, H, W) scores -> refined scores."""
        return propagate(scores, prepared, self.dilations, self.steps)
