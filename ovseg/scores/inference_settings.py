"""How an image is taken through a dense encoder: whole or in windows, and in what batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ovseg.errors import UserError
from ovseg.settings import read_settings


@dataclass(frozen=True)
class InferenceSettings:
    """The ``test_cfg`` of a training-free segmentor.

    Attributes:
        mode: ``'whole'`` image, ``'slide'`` (windows, their scores averaged in pixels), or
            ``'splice'`` (windows, their features averaged on the patch grid; guides and refiners
            then see the whole image).
        crop_size: (height, width) of a window in pixels; not for ``'whole'``.
        stride: (height, width) between windows in pixels; not for ``'whole'``.
        window_batch: how many windows or images go through the encoder at once.
        save_logits: also give ``seg_logits`` (K, H, W), log-probabilities, with each prediction;
            their memory grows with classes and image size.
        strip_megabytes: about how much memory upsampling and arg-max may take at once.
        upsampling: ``'via_input'`` resizes score maps to the input size and then to the image's, as
            mmseg does; ``'direct'`` straight to the image's, as SCLIP and ClearCLIP do with whole
            images, and Trident. Scores of windows are always averaged at the input size.
        average: what of overlapping windows is averaged: ``'scores'``, or, with ``'slide'``, the
            ``'probabilities'`` that a window's own softmax makes of them (TIPSv2, dino.txt).
        normalize_scores: scores that are given out sum to 1 over the classes (NACLIP); with
            synonyms by ``max`` they otherwise sum to less. Labels do not depend on it.
        segments: which masks become segments where a data set asks for these, by the fields of
            :class:`~ovseg.regions.mask_segments.SegmentSettings`; None for what a model does
            without. For models that propose masks.
    """

    mode: Literal['whole', 'slide', 'splice'] = 'whole'
    crop_size: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    window_batch: int = 8
    save_logits: bool = False
    strip_megabytes: float = 256.0
    upsampling: Literal['via_input', 'direct'] = 'via_input'
    normalize_scores: bool = False
    average: Literal['scores', 'probabilities'] = 'scores'
    segments: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Checks the settings against each other."""
        if self.mode not in ('whole', 'slide', 'splice'):
            raise UserError(
                f"test_cfg.mode must be 'whole', 'slide' or 'splice', got '{self.mode}'"
            )
        if self.upsampling not in ('via_input', 'direct'):
            raise UserError(
                f"test_cfg.upsampling must be 'via_input' or 'direct', got '{self.upsampling}'"
            )
        if self.upsampling == 'direct' and self.mode == 'slide':
            raise UserError(
                "test_cfg.upsampling='direct' does not go with mode='slide': windows are averaged "
                'at the input size'
            )
        if self.average not in ('scores', 'probabilities'):
            raise UserError(
                f"test_cfg.average must be 'scores' or 'probabilities', got '{self.average}'"
            )
        if self.average == 'probabilities' and self.mode != 'slide':
            raise UserError(
                "test_cfg.average='probabilities' goes with mode='slide', which has windows whose "
                f"maps are averaged; the mode is '{self.mode}'"
            )
        for name in ('crop_size', 'stride'):
            value = getattr(self, name)
            if value is not None:
                value = (value, value) if isinstance(value, int) else tuple(value)
                object.__setattr__(self, name, value)
                if len(value) != 2 or min(value) < 1:
                    raise UserError(
                        f'test_cfg.{name} must be (height, width) in pixels, got {value}'
                    )
            elif self.mode != 'whole':
                raise UserError(f"test_cfg.{name} is needed with mode='{self.mode}'")
        if self.mode != 'whole':
            crop_size, stride = self.windowing
            if any(step > crop for step, crop in zip(stride, crop_size, strict=True)):
                raise UserError(
                    f'test_cfg.stride {stride} exceeds crop_size {crop_size}, so some pixels '
                    'would get no score; lower the stride'
                )
        if self.window_batch < 1 or self.strip_megabytes <= 0:
            raise UserError('test_cfg.window_batch and strip_megabytes must be positive')

    @property
    def windowing(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """``crop_size`` and ``stride`` of a mode that has windows."""
        assert self.crop_size is not None and self.stride is not None  # checked when made
        return self.crop_size, self.stride

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None) -> InferenceSettings:
        """Returns the settings that a ``test_cfg`` names.

        Args:
            config: fields by name, or None for the defaults.

        Raises:
            UserError: unknown field, or values that do not fit.
        """
        return read_settings(cls, config, 'test_cfg')

    def with_window_batch(self, window_batch: int | None) -> InferenceSettings:
        """The same with another number of windows at once; None for the same."""
        return self if window_batch is None else replace(self, window_batch=window_batch)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain data."""
        return asdict(self)
