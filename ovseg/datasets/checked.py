"""Data sets in which no setting is accepted and not read."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mmengine.registry import DefaultScope

from ovseg.compat.mmseg_datasets import BaseSegDataset
from ovseg.errors import UserError, nearest
from ovseg.images.pipeline import Step
from ovseg.line_lists import read_lines
from ovseg.registry import TRANSFORMS
from ovseg.settings import check_value, parameters_of

_BASE = inspect.signature(BaseSegDataset.__init__).parameters


class CheckedDataset(BaseSegDataset):
    """mmseg's ``BaseSegDataset`` that refuses what it would not read.

    Steps of the pipeline are found by their names whatever the default scope is. Names of classes
    may come from a file with one a line.

    Args:
        pipeline: steps as in mmseg.
        settings: as in ``BaseSegDataset``.

    Raises:
        UserError: a setting that the class does not have or has no use for, of another kind than it
            takes, or one that contradicts another.
    """

    # Settings of the base that the class does not read, and what to do instead.
    UNREAD: ClassVar[Mapping[str, str]] = {}
    # Keys of data_prefix.
    FOLDERS: ClassVar[tuple[str, ...]] = ('img_path', 'seg_map_path')
    # Name for tools/prepare_data.py; empty where nothing prepares the data.
    PREPARED_BY: ClassVar[str] = ''

    def __init__(self, pipeline: Sequence[Step] = (), **settings: Any) -> None:
        self._check_settings(settings)
        # None stands for the default.
        settings = {
            name: value
            for name, value in settings.items()
            if value is not None or _BASE[name].default is None
        }
        facts = self._load_metainfo(settings.get('metainfo'))
        if settings.get('test_mode') and not facts.get('classes'):
            raise UserError(
                f'{type(self).__name__}.test_mode needs the names of the classes; set '
                'metainfo=dict(classes=[...])'
            )
        for name in ('ann_file', 'data_root'):
            if isinstance(settings.get(name), os.PathLike):
                settings[name] = os.fspath(settings[name])
        super().__init__(pipeline=_built(pipeline), **{**settings, **self._decided()})

    def _decided(self) -> dict[str, Any]:
        """Settings of the base that the class decides."""
        return {}

    @classmethod
    def _check_settings(cls, settings: Mapping[str, Any]) -> None:
        unread = {'filter_cfg': 'choose images with ann_file or indices', **cls.UNREAD}
        known = [name for name in parameters_of(cls)[0] if name not in unread]
        for name, value in settings.items():
            if name not in _BASE:
                raise UserError(f"{cls.__name__} has no setting '{name}'.{nearest(name, known)}")
            if name in unread and value is not None and value != _BASE[name].default:
                raise UserError(
                    f"{cls.__name__} has no use for the setting '{name}': {unread[name]}"
                )
            if value is not None and _BASE[name].default is not None:
                check_value(value, _BASE[name].annotation, f'{cls.__name__}.{name}')
        for key in settings.get('data_prefix') or {}:
            if key not in cls.FOLDERS:
                raise UserError(
                    f"{cls.__name__}.data_prefix has no folder '{key}' (known: "
                    f'{", ".join(cls.FOLDERS)}).{nearest(key, cls.FOLDERS)}'
                )

    @classmethod
    def _load_metainfo(cls, metainfo: Any = None) -> dict[str, Any]:
        """The class's own facts and those of a config; names of classes may be a file's."""
        if metainfo is None:
            return super()._load_metainfo(None)
        if not isinstance(metainfo, Mapping):
            raise UserError(
                f'{cls.__name__}.metainfo must be a dict such as dict(classes=[...]), '
                f'got {metainfo!r}'
            )
        known = ('classes', 'palette', 'ignore_index')
        given = dict(metainfo)
        for name in given:
            if name not in known and name not in cls.METAINFO:
                raise UserError(
                    f"{cls.__name__}.metainfo has no use for '{name}' (known: classes, palette)."
                    + nearest(str(name), known)
                )
        if isinstance(given.get('classes'), str):
            given['classes'] = [name for _, name in read_lines(given['classes'], 'classes')]
        if isinstance(given.get('palette'), str):
            raise UserError(f'{cls.__name__}.metainfo.palette must be a list of colours')
        own = cls.METAINFO.get('ignore_index')
        if given.get('ignore_index', own) != own:
            raise UserError(
                f'{cls.__name__}.metainfo.ignore_index is {given["ignore_index"]}; the label that '
                f'does not count is {"the setting ignore_index" if own is None else own}'
            )
        found = super()._load_metainfo(given)
        colours, classes = found.get('palette'), found.get('classes')
        if given.get('palette') and len(colours) != len(classes or ()):
            raise UserError(
                f'{cls.__name__}.metainfo.palette has {len(colours)} colours for '
                f'{len(classes or ())} classes; give one for each'
            )
        return found

    def _missing(self, what: str, where: str) -> FileNotFoundError:
        root = os.path.abspath(self.data_root or '.')
        command = f'`python tools/prepare_data.py {self.PREPARED_BY} {root}` (docs/data.md)'
        remedy = f'prepare the data with {command} or ' if self.PREPARED_BY else ''
        return FileNotFoundError(
            f'{type(self).__name__}: {what}: {os.path.abspath(where)}; {remedy}correct data_root'
        )

    def filter_data(self) -> list[dict[str, Any]]:
        """All samples, after ``indices`` was compared with their number.

        Raises:
            UserError: positions that do not exist.
        """
        self._check_positions(len(self.data_list))
        return super().filter_data()

    def _check_positions(self, count: int) -> None:
        chosen = self._indices
        if chosen is None or not count:
            return
        name = type(self).__name__
        if isinstance(chosen, int):
            if isinstance(chosen, bool) or not chosen:
                raise UserError(
                    f'{name}.indices is {chosen}; give a number of images, or positions'
                )
            return
        if isinstance(chosen, str) or not all(isinstance(one, int) for one in chosen):
            raise UserError(f'{name}.indices is {chosen!r}; give a number of images, or positions')
        wrong = [one for one in chosen if not -count <= one < count]
        if wrong or not len(chosen):
            what = f'names image {wrong[0]}' if wrong else 'is empty'
            raise UserError(
                f'{name}.indices {what}, but the {count} images are numbered 0 to {count - 1}'
            )


def _built(pipeline: Sequence[Step]) -> list[Any]:
    """Steps as objects, where this package or mmseg has them; others are left to mmengine."""
    steps: list[Any] = []
    with DefaultScope.overwrite_default_scope('ovseg'):
        for step in pipeline:
            known = isinstance(step, Mapping) and TRANSFORMS.get(str(step.get('type'))) is not None
            steps.append(TRANSFORMS.build(step) if known else step)
    return steps
