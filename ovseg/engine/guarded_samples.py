"""Files of a data set that cannot be read: said in one sentence, or passed over and counted."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol, runtime_checkable

import cv2
from mmengine.logging import MMLogger
from torch.utils.data import Dataset

from ovseg.errors import UserError
from ovseg.images.opening import opened
from ovseg.input_files import regular_file

_FILES = {'img_path': 'image', 'seg_map_path': 'label map', 'mask_path': 'mask'}
# Pixels of a side, from which on no step of a pipeline is known to fail on a picture.
_THIN = 8
# What readers raise about a file; anything else is a fault of the program and is not passed over.
_OF_A_FILE = (OSError, ValueError, AssertionError, EOFError, SyntaxError, cv2.error)


@runtime_checkable
class Guardable(Protocol):
    """A data set that reads its samples one by one: mmengine's, and ours of their shape.

    Attributes:
        test_mode: whether every sample counts, so that none is passed over.
        prepare_data: reads a sample; what gives None is replaced by another sample.
    """

    test_mode: bool
    prepare_data: Callable[[int], Any]

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def get_data_info(self, index: int) -> Any:
        """The names of a sample's files."""
        ...


def guard_samples(dataset: Dataset, max_bad_samples: int) -> None:
    """Checks a data set's files when they are read, and passes over bad ones.

    A pipe, which would be waited for without end, a device or an empty file is told in a sentence.

    Args:
        dataset: changed in place; data sets inside others, too.
        max_bad_samples: how many samples a training passes over, each replaced by another one; one
            more ends it.
    """
    counter = multiprocessing.get_context('fork').Array('q', [-1] * max_bad_samples)
    for number, part in enumerate(data_sets_in(dataset)):
        part.prepare_data = _Guarded(part, part.prepare_data, max_bad_samples, counter, number)


def data_sets_in(dataset: Any) -> list[Guardable]:
    """A data set of mmengine's kind itself and those inside it, or those inside another kind.

    Args:
        dataset: any; others are looked for in ``dataset`` and ``datasets``.
    """
    inner = [getattr(dataset, 'dataset', None), *(getattr(dataset, 'datasets', None) or [])]
    parts = [part for one in inner if one is not None for part in data_sets_in(one)]
    return [dataset, *parts] if isinstance(dataset, Guardable) else parts


def passes_over(dataset: Guardable) -> bool:
    """Whether samples that cannot be read are passed over in this data set.

    Args:
        dataset: one of :func:`data_sets_in`.
    """
    return samples_passed_over(dataset) > 0


def samples_passed_over(dataset: Guardable) -> int:
    """How many samples that cannot be read are passed over in a data set.

    Args:
        dataset: one of :func:`data_sets_in`.
    """
    guard = dataset.prepare_data
    return guard.limit if isinstance(guard, _Guarded) and not dataset.test_mode else 0


class _Guarded:
    """``prepare_data`` of a data set; None for a sample that is passed over."""

    def __init__(
        self,
        dataset: Guardable,
        prepare: Callable[[int], Any],
        limit: int,
        counter: Any,
        number: int,
    ) -> None:
        self._dataset = dataset
        self._prepare = prepare
        self.limit = limit
        self._bad = counter  # shared by the loader's processes: -1, or a sample passed over
        self._number = number

    def __call__(self, index: int) -> Any:
        """The sample after its pipeline."""
        try:
            check_files(self._dataset.get_data_info(index))
            return self._prepare(index)
        except _OF_A_FILE as error:
            if not self.limit or self._dataset.test_mode:
                _raise_if_thin(self._dataset.get_data_info(index), error)
                raise
            self._pass_over(index, error)
            return None

    def _pass_over(self, index: int, error: Exception) -> None:
        sample = index * 1000 + self._number  # one number for a sample of one of several sets
        with self._bad.get_lock():
            known = [number for number in self._bad if number >= 0]
            if sample in known:
                return
            if len(known) == self.limit:
                reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
                raise UserError(
                    f'{self.limit} samples were passed over and one more cannot be read: '
                    f'{reason[0]} (sample {index}); mend the files or raise '
                    'train_dataloader.max_bad_samples'
                ) from error
            self._bad[len(known)] = sample
        MMLogger.get_current_instance().warning(
            f'sample {index} is passed over ({len(known) + 1} of at most {self.limit}): {error}'
        )


def _raise_if_thin(sample: Mapping[str, Any], error: Exception) -> None:
    """A sentence for what OpenCV, NumPy and torch say of a picture that a step left no pixel of."""
    path = sample.get('img_path')
    if isinstance(error, (UserError, OSError)) or not isinstance(path, str) or '://' in path:
        return
    width = height = _THIN
    with suppress(UserError, FileNotFoundError), opened(path, decode=False) as image:
        width, height = image.size
    if min(width, height) < _THIN:
        raise UserError(
            f'the image {path} is too thin, {height} x {width} pixels, for a step of its pipeline, '
            'which leaves nothing of it; take it out, or let a training pass over such ones: '
            '--cfg-options train_dataloader.max_bad_samples=N'
        ) from error


def check_files(sample: Mapping[str, Any]) -> None:
    """Stops at a file of a sample that is none or empty.

    Args:
        sample: may name files under ``img_path`` and ``seg_map_path``.

    Raises:
        UserError: no regular file, or an empty one; a missing file is left to its reader.
    """
    for key, content in _FILES.items():
        path = sample.get(key)
        if not isinstance(path, str) or '://' in path:
            continue
        with suppress(FileNotFoundError):
            if not regular_file(path, content).stat().st_size:
                raise UserError(f'the {content} {path} is an empty file; get it again')
