"""A model in bounded memory: smaller parts where it runs out, which are remembered."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from ovseg.apis.devices import is_out_of_memory
from ovseg.errors import UserError
from ovseg.scores.encoding import ImageEncoding
from ovseg.segmentors.prediction import VocabularyPrediction

_SMALLEST_STRIP_MEGABYTES = 1.0
_logger = logging.getLogger('ovseg')
_Answer = TypeVar('_Answer')


class BoundedMemory:
    """Runs a model's encoder and what follows it, in parts as small as memory asks for.

    Args:
        model: any segmentor with a vocabulary.
        name: what it is called, for messages.
        device: where it runs.
        batch_size: images that go through the encoder at once, at first.

    Attributes:
        batch_size: falls by half where memory does not suffice.
        strip_megabytes: of the strips in which an image is decided; falls likewise.
    """

    def __init__(
        self, model: VocabularyPrediction, name: str, device: torch.device, batch_size: int
    ) -> None:
        self._model, self._name, self._device = model, name, device
        self.batch_size = batch_size
        self.strip_megabytes = model.inference_settings.strip_megabytes
        self._notices: set[str] = set()

    def encode(self, inputs: Tensor, beside: dict[str, list[Any]]) -> list[ImageEncoding]:
        """Encodings of images of one size.

        Args:
            inputs: (B, 3, H, W), from the data preprocessor.
            beside: what else ``encode_images`` takes, B of each.

        Raises:
            UserError: memory does not suffice for one image, or features are not finite.
        """
        try:
            with torch.inference_mode():
                encodings = self._model.encode_images(inputs, **beside)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return self._encode_in_less_memory(inputs, beside, error)
        for encoding in encodings:
            if not torch.isfinite(encoding.features.patch).all():
                raise UserError(
                    f'The model {self._name} gave features that are not numbers: its weights hold '
                    'NaN or infinity; load an intact file.'
                )
        return encodings

    def _encode_in_less_memory(
        self, inputs: Tensor, beside: dict[str, list[Any]], error: BaseException
    ) -> list[ImageEncoding]:
        _free(self._device)
        if len(inputs) > 1:
            half = len(inputs) // 2
            self._say_once('Memory ran out: images go through the encoder in smaller batches.')
            self.batch_size = half
            first = {key: given[:half] for key, given in beside.items()}
            rest = {key: given[half:] for key, given in beside.items()}
            return self.encode(inputs[:half], first) + self.encode(inputs[half:], rest)
        settings = self._model.inference_settings
        if settings.mode != 'whole' and settings.window_batch > 1:
            self._say_once('Memory ran out: windows go through the encoder in smaller batches.')
            self._model.inference_settings = replace(
                settings, window_batch=settings.window_batch // 2
            )
            return self.encode(inputs, beside)
        height, width = inputs.shape[-2:]
        raise UserError(
            f'The memory of {self._device} does not suffice for one image of {height} x {width} '
            f'pixels with {self._name}: use a smaller model, or another device.'
        ) from error

    def in_strips(
        self,
        run: Callable[[float], _Answer],
        size: tuple[int, int],
        classes: int,
        scores: bool = False,
    ) -> _Answer:
        """The result of ``run`` for strips of so many megabytes: fewer when memory runs out.

        Args:
            run: takes the megabytes of a strip.
            size: (height, width) of the image, for messages.
            classes: how many there are, for messages.
            scores: whether scores of all classes are kept, for messages.

        Raises:
            UserError: memory does not suffice for the smallest strips.
        """
        while True:
            try:
                with torch.inference_mode():
                    return run(self.strip_megabytes)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._shrink_strips(size, classes, scores, error)

    def _shrink_strips(
        self, size: tuple[int, int], classes: int, scores: bool, error: BaseException
    ) -> None:
        _free(self._device)
        if self.strip_megabytes / 4 < _SMALLEST_STRIP_MEGABYTES:
            advice = 'do not ask for scores' if scores else 'use a smaller image or another device'
            raise UserError(
                f'The memory of {self._device} does not suffice for {classes} classes on '
                f'{size[0]} x {size[1]} pixels: {advice}.'
            ) from error
        self.strip_megabytes /= 4
        self._say_once('Memory ran out: the image is labelled in smaller strips.')

    def _say_once(self, notice: str) -> None:
        if notice not in self._notices:
            self._notices.add(notice)
            _logger.warning(notice)


def _free(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.empty_cache()
