"""Files of a training are looked at before its first step: none has to be decoded for that."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ovseg.datasets.loading import read_labels
from ovseg.engine.distributed import any_process
from ovseg.engine.guarded_samples import check_files, data_sets_in, samples_passed_over
from ovseg.errors import UserError
from ovseg.images.opening import UnknownFormat, has_end, opened
from ovseg.images.reading import load_rgb
from ovseg.input_files import regular_file
from ovseg.registry import HOOKS

_LOADERS = ('LoadImageFromFile', 'ImageLoader')


@HOOKS.register_module()
class FileCheckHook(Hook):
    """Finds images and label maps that are missing, empty, cut off or none before the first step.

    Headers and ends of files are read; a picture is decoded only where its end is missing. One bad
    file of a thousand then ends a training at once and not on its third day.

    Args:
        seconds: how long to look; what is left is checked when it is read. 0 for not at all.

    Raises:
        UserError: more files are bad than ``train_dataloader.max_bad_samples`` passes over.
    """

    priority = 'VERY_HIGH'

    def __init__(self, seconds: float = 20.0) -> None:
        self.seconds = seconds

    def before_train(self, runner: Runner) -> None:
        """Looks at the files of the training, then at those of its validations."""
        error = None
        if is_main_process():
            end = time.monotonic() + self.seconds
            loaders = [('train_dataloader', runner.train_dataloader)]
            if runner.val_loop is not None:
                loaders.append(('val_dataloader', runner.val_dataloader))
            try:
                for name, loader in loaders:
                    _look(name, loader.dataset, end)
            except UserError as caught:
                error = caught
        if any_process(error is not None):
            raise error or UserError('the main process found files that cannot be read')


def _look(name: str, dataset: Any, end: float) -> None:
    limit = max((samples_passed_over(part) for part in data_sets_in(dataset)), default=0)
    for found, problem in enumerate(_problems(dataset, end), start=1):
        if found > limit:
            setting = (
                '; mend or remove it, or let the training pass over such ones: '
                f'--cfg-options {name}.max_bad_samples=N'
            )
            count = (
                f' ({found} samples cannot be read, {limit} may be passed over)' if limit else ''
            )
            raise UserError(f'{problem}{count}{setting if name == "train_dataloader" else ""}')


def _problems(dataset: Any, end: float) -> Iterator[str]:
    """A sentence for each sample that cannot be read, until the time is over."""
    for part in data_sets_in(dataset):
        if getattr(part, 'backend_args', None) or not _reads_files(part):
            continue
        for index in range(len(part)):
            if time.monotonic() > end:
                return
            sample = part.get_data_info(index)
            try:
                check_files(sample)
                check_image(sample.get('img_path'))
                check_labels(sample.get('seg_map_path'))
            except (UserError, FileNotFoundError) as error:
                yield str(error).rstrip('.')


def _reads_files(part: Any) -> bool:
    """Whether samples come from files; generated ones have names of files that do not exist."""
    pipeline = getattr(part, 'pipeline', None)
    steps = getattr(pipeline, 'transforms', None)
    return steps is None or any(type(step).__name__ in _LOADERS for step in steps)


def check_image(path: Any) -> None:
    """Stops at an image file that is none or cut off; only a cut one is decoded.

    Args:
        path: of this machine; anything else passes.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: says what is wrong.
    """
    if not isinstance(path, str) or '://' in path:
        return
    try:
        with opened(path, decode=False):
            pass
    except UnknownFormat:
        if not cv2.haveImageReader(path):
            raise
    if not has_end(Path(path)):
        load_rgb(path)


def check_labels(path: Any) -> None:
    """Stops at a label map that is missing or cut off; only a cut one is decoded.

    Args:
        path: of this machine; anything else passes.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: says what is wrong.
    """
    if isinstance(path, str) and '://' not in path and not has_end(regular_file(path, 'label map')):
        read_labels(path)
