"""A model in bounded memory: smaller parts where it runs out, which are remembered."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from ovseg.budget import MemoryBudget
from ovseg.devices import is_out_of_memory
from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.locks import Lock
from ovseg.segmentors.base import Segmentor, check_encodings
from ovseg.torch_modes import evaluating, plain_torch, quick_torch

_SMALLEST_STRIP_MEGABYTES = 1.0
_logger = logging.getLogger('ovseg')
_Answer = TypeVar('_Answer')


class BoundedMemory:
    """Runs a model's encoder and what follows it, in parts as small as memory asks for.

    Threads may share it: where memory runs out for several at once, the parts shrink once for all
    that tried the same size.

    Args:
        model: any segmentor with a vocabulary.
        name: what it is called, for messages.
        device: where it runs.
        batch_size: images that go through the encoder at once, at first.

    Attributes:
        batch_size: falls by half where memory does not suffice.
        window_batch: windows that go through the encoder at once; falls likewise.
        budget: of the strips in which an image is decided; falls likewise.
    """

    def __init__(self, model: Segmentor, name: str, device: torch.device, batch_size: int) -> None:
        self._model, self._name, self._device = model, name, device
        self.batch_size = batch_size
        self.window_batch = model.inference_settings.window_batch
        self.budget = model.budget
        self._notices: set[str] = set()
        self._lock = Lock()

    def encode(self, images: Images) -> list[Any]:
        """Encodings of images.

        Args:
            images: of one size.

        Raises:
            UserError: memory does not suffice for one image, or features are not finite.
        """
        window_batch = self.window_batch
        try:
            with plain_torch(), evaluating(self._model):
                encodings = self._model.encode(images, window_batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return self._encode_in_less_memory(images, window_batch, error)
        check_encodings(encodings, self._name)
        return encodings

    def _encode_in_less_memory(
        self, images: Images, window_batch: int, error: BaseException
    ) -> list[Any]:
        _free(self._device)
        if len(images) > 1:
            half = len(images) // 2
            self._say_once('Memory ran out: images go through the encoder in smaller batches.')
            with self._lock:
                self.batch_size = min(self.batch_size, half)
            return self.encode(images[:half]) + self.encode(images[half:])
        if self._model.inference_settings.mode != 'whole' and window_batch > 1:
            self._say_once('Memory ran out: windows go through the encoder in smaller batches.')
            with self._lock:
                self.window_batch = min(self.window_batch, window_batch // 2)
            return self.encode(images)
        height, width = images.size
        raise UserError(
            f'The memory of {self._device} does not suffice for one image of {height} x {width} '
            f'pixels with {self._name}: use a smaller model, or another device.'
        ) from error

    def in_strips(
        self,
        run: Callable[[MemoryBudget], _Answer],
        size: tuple[int, int],
        classes: int,
        scores: bool = False,
    ) -> _Answer:
        """The result of ``run`` within a memory budget: a smaller one when memory runs out.

        Args:
            run: takes the budget.
            size: (height, width) of the image, for messages.
            classes: how many there are, for messages.
            scores: whether scores of all classes are kept, for messages.

        Raises:
            UserError: memory does not suffice for the smallest strips.
        """
        while True:
            budget = self.budget
            try:
                with quick_torch(), evaluating(self._model):
                    return run(budget)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._shrink_strips(budget, size, classes, scores, error)

    def _shrink_strips(
        self,
        tried: MemoryBudget,
        size: tuple[int, int],
        classes: int,
        scores: bool,
        error: BaseException,
    ) -> None:
        _free(self._device)
        if tried.megabytes / 4 < _SMALLEST_STRIP_MEGABYTES:
            advice = 'do not ask for scores' if scores else 'use a smaller image or another device'
            raise UserError(
                f'The memory of {self._device} does not suffice for {classes} classes on '
                f'{size[0]} x {size[1]} pixels: {advice}.'
            ) from error
        with self._lock:
            smaller = tried.share(1 / 4)
            if smaller.megabytes < self.budget.megabytes:
                self.budget = smaller
        self._say_once('Memory ran out: the image is labelled in smaller strips.')

    def _say_once(self, notice: str) -> None:
        with self._lock:
            is_new = notice not in self._notices
            self._notices.add(notice)
        if is_new:
            _logger.warning(notice)


def _free(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.empty_cache()
