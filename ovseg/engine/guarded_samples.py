"""Files of a data set that cannot be read: said in one sentence, or passed over and counted."""

from __future__ import annotations

import multiprocessing
import os
import stat
from collections.abc import Callable, Mapping
from typing import Any

import cv2
from mmengine.dataset import BaseDataset
from mmengine.logging import MMLogger
from torch.utils.data import Dataset

from ovseg.errors import UserError

_FILES = {'img_path': 'image', 'seg_map_path': 'label map'}
# What readers raise about a file; anything else is a fault of the program and is not passed over.
_OF_A_FILE = (OSError, ValueError, AssertionError, EOFError, SyntaxError, cv2.error)


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


def data_sets_in(dataset: Any) -> list[BaseDataset]:
    """A data set of mmengine's kind itself and those inside it, or those inside another kind.

    Args:
        dataset: any; others are looked for in ``dataset`` and ``datasets``.
    """
    inner = [getattr(dataset, 'dataset', None), *(getattr(dataset, 'datasets', None) or [])]
    parts = [part for one in inner if one is not None for part in data_sets_in(one)]
    return [dataset, *parts] if isinstance(dataset, BaseDataset) else parts


def passes_over(dataset: BaseDataset) -> bool:
    """Whether samples that cannot be read are passed over in this data set.

    Args:
        dataset: one of :func:`data_sets_in`.
    """
    guard = dataset.prepare_data
    return isinstance(guard, _Guarded) and guard.limit > 0 and not dataset.test_mode


class _Guarded:
    """``prepare_data`` of a data set; None for a sample that is passed over."""

    def __init__(
        self,
        dataset: BaseDataset,
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
        try:
            status = os.stat(path)
        except OSError:
            continue
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f'the {content} {path} is no regular file; replace it or leave it out')
        if not status.st_size:
            raise UserError(f'the {content} {path} is an empty file; get it again')
