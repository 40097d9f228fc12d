"""Which classes the label maps use, before a training that could not learn the others."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from PIL import Image
from torch.utils.data import DataLoader

from ovseg.datasets.loading import read_labels
from ovseg.engine.guarded_samples import check_files, data_sets_in, passes_over
from ovseg.errors import UserError
from ovseg.images.orientation import exif_orientation
from ovseg.registry import HOOKS

_LOADERS = ('LoadSegLabels', 'LoadAnnotations')
# Of what this one loads, the annotation file already says the class and the area.
_SEGMENTS = 'LoadPanopticMap'
# Label maps whose raw values are looked at for the message.
_RAW_MAPS = 20


@dataclass
class LabelUse:
    """What a look at label maps found.

    Attributes:
        classes: names, in label order.
        counts: pixels of each class (K,).
        values: numbers in the files of some of the maps.
        maps: how many were looked at.
        of: how many there are.
        are_segments: the maps hold numbers of segments, whose classes an annotation file lists.
    """

    classes: Sequence[str]
    counts: np.ndarray
    values: set[int] = field(default_factory=set)
    maps: int = 0
    of: int = 0
    are_segments: bool = False

    @property
    def unused(self) -> list[str]:
        """Classes without a pixel."""
        return [name for name, count in zip(self.classes, self.counts, strict=True) if not count]

    def sentence(self, loader: str) -> str | None:
        """What is wrong, None if nothing is.

        In a part of the maps a rare class may be absent; then all but one must be.

        Args:
            loader: key of the config, such as ``train_dataloader``.
        """
        unused = self.unused
        if not unused or (self.maps < self.of and len(self.classes) - len(unused) > 1):
            return None
        which = 'none of the classes has a' if len(unused) == len(self.classes) else _named(unused)
        looked = f'{self.maps} of the {self.of}' if self.maps < self.of else f'the {self.of}'
        if self.are_segments:
            return (
                f'{which} segment in the annotations of {looked} images of '
                f'{loader}; name the classes that have some in {loader}.dataset.metainfo, or give '
                'the annotation file of this data set'
            )
        values = ', '.join(str(value) for value in sorted(self.values)[:8])
        return (
            f'{which} pixel in {looked} label maps of {loader}: they hold the values {values}, '
            f'where class i is the value i and 255 is no class; {self._advice(loader)}'
        )

    def _advice(self, loader: str) -> str:
        """Which setting would read the values that were found."""
        found, count = sorted(self.values), len(self.classes)
        if [value for value in found if value != 255] == list(range(1, count + 1)):
            return (
                f'if 1 is the first class, set {loader}.dataset.reduce_zero_label=True, with which '
                '0 is no class'
            )
        example = f'={found}' if len(found) == count else ''
        return (
            'if the values mean something else, say which one each class has, in the order of the '
            f'classes: {loader}.dataset.label_values{example} of LabelledFolderDataset'
        )


def _named(names: Sequence[str]) -> str:
    quoted = ', '.join(f"'{name}'" for name in names[:5])
    if len(names) == 1:
        return f'class {quoted} has no'
    return f'the {len(names)} classes {quoted}{", ..." if len(names) > 5 else ""} have no'


def look_at_labels(dataset: Any, max_maps: int, seconds: float = 10.0) -> LabelUse | None:
    """Counts the labels in maps spread over a data set; None where it has none to look at.

    Where these have no label at all, the rest is read until there is one.

    Args:
        dataset: of mmseg's kind, or data sets of that kind inside another.
        max_maps: how many maps to read.
        seconds: how long to read at most, once there is a label.

    Raises:
        UserError: a map cannot be read, and the data set does not pass over such ones.
    """
    samples: list[tuple[Any, int]] = [
        (part, i) for part in data_sets_in(dataset) if _reads(part) for i in range(len(part))
    ]
    if not samples:
        return None
    classes = list(samples[0][0].metainfo.get('classes') or [])
    if len(classes) < 1:
        return None
    use = LabelUse(classes, np.zeros(len(classes), np.int64), of=len(samples))
    use.are_segments = _SEGMENTS in _steps(samples[0][0])
    spread = np.unique(np.linspace(0, len(samples) - 1, min(max_maps, len(samples))).astype(int))
    end = time.monotonic() + seconds
    for position in _in_turn(spread.tolist(), len(samples)):
        enough = use.maps >= len(spread) or time.monotonic() > end
        if enough and use.counts.any():
            break
        _count(use, *samples[position])
    return use


def _in_turn(first: Sequence[int], count: int) -> Iterator[int]:
    yield from first
    done = set(first)
    yield from (position for position in range(count) if position not in done)


def _reads(part: Any) -> bool:
    """Whether a data set loads label maps and uses the labels."""
    steps = _steps(part)
    if _SEGMENTS in steps:
        return bool(len(part))
    held_back = getattr(steps.get('SuppressLabels'), 'classes', None)
    if not steps.keys() & set(_LOADERS) or held_back == 'all' or not len(part):
        return False
    return bool(part.get_data_info(0).get('seg_map_path'))


def _steps(part: Any) -> dict[str, Any]:
    """The steps of a data set's pipeline by the names of their classes."""
    steps = getattr(getattr(part, 'pipeline', None), 'transforms', [])
    return {type(step).__name__: step for step in steps}


def _count(use: LabelUse, part: Any, index: int) -> None:
    sample: Mapping[str, Any] = part.get_data_info(index)
    use.maps += 1
    if _SEGMENTS in _steps(part):
        for _, label, area, _ in sample['segments']:
            use.counts[label] += area
        return
    step = next(s for s in part.pipeline.transforms if type(s).__name__ in _LOADERS)
    try:
        check_files(sample)
        turned = _orientation_of(sample.get('img_path'))
        seen = {**sample, 'seg_fields': [], 'exif_orientation': turned}
        labels = step(seen)['gt_seg_map']
        if len(use.values) < 256 and use.maps <= _RAW_MAPS:
            path = sample['seg_map_path']
            raw = read_labels(path, step.backend_args)
            use.values |= set(np.unique(raw).tolist())
    except (UserError, OSError):
        if not passes_over(part):
            raise
        return
    flat = np.asarray(labels).ravel().astype(np.int64)
    known = flat[(flat >= 0) & (flat < len(use.classes)) & (flat != part.ignore_index)]
    use.counts += np.bincount(known, minlength=len(use.classes))


def _orientation_of(path: Any) -> int:
    """The EXIF orientation of an image, 1 where it cannot be read: its loader tells that."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            with Image.open(path) as picture:
                return exif_orientation(picture)
    except (OSError, SyntaxError, ValueError, TypeError, AttributeError):
        return 1


@HOOKS.register_module()
class LabelUseHook(Hook):
    """Says before training, and before the first validation and test, which classes have no label.

    Masks drawn with 0 and 255, for example, have no pixel of a second class for any reader: the
    training runs, its scores look good, and nothing was learnt.

    Args:
        max_maps: how many label maps to read; where a data set has more, only classes that are
            absent from all but one are mentioned.

    Raises:
        UserError: there is no label at all.
    """

    def __init__(self, max_maps: int = 100) -> None:
        self.max_maps = max_maps
        self._seen: set[str] = set()

    def before_train(self, runner: Runner) -> None:
        """Looks at the training set."""
        self._look('train_dataloader', runner.train_dataloader)

    def before_val(self, runner: Runner) -> None:
        """Looks at the validation set, once."""
        self._look('val_dataloader', runner.val_dataloader)

    def before_test(self, runner: Runner) -> None:
        """Looks at the test set."""
        self._look('test_dataloader', runner.test_dataloader)

    def _look(self, name: str, loader: DataLoader) -> None:
        if name in self._seen:
            return
        self._seen.add(name)
        use = look_at_labels(loader.dataset, self.max_maps)
        sentence = None if use is None else use.sentence(name)
        if use is None or sentence is None:
            return
        if not use.counts.any():
            raise UserError(sentence)
        MMLogger.get_current_instance().warning(sentence[0].upper() + sentence[1:] + '.')
