"""Where the pictures and label maps of a test go: folders are kept, names are planned first."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ovseg.errors import UserError
from ovseg.images.finding import FoundImage
from ovseg.images.output_plan import plan_outputs

_PNG = '.png'


def names_of_outputs(dataset: Any, folder: str | Path, option: str) -> dict[str, Path]:
    """The PNG file below ``folder`` of each image of a data set, by the image's path.

    The folders below the data set's image folder are mirrored. Images of one name and several
    endings keep their endings in the names.

    Args:
        dataset: with ``get_data_info``, as of mmengine; anything else gives no names.
        folder: of the files.
        option: what asked for the files, for the message.

    Raises:
        UserError: the files would lie among the images or label maps of the data set.
    """
    infos = _infos(dataset)
    paths = list(dict.fromkeys(str(info['img_path']) for info in infos if 'img_path' in info))
    if not paths:
        return {}
    root = _root_of(dataset, paths)
    images = [FoundImage(Path(path), Path(os.path.relpath(path, root))) for path in paths]
    outputs = plan_outputs(images, folder, [_PNG], len(_PNG))
    real = {parent: os.path.realpath(parent) for parent in {output.folder for output in outputs}}
    kept = {os.path.dirname(info[key]) for info in infos for key in _FILES if info.get(key)}
    kept = {os.path.realpath(place) for place in kept if place and os.path.isdir(place)}
    if kept & set(real.values()):
        raise UserError(
            f'{option} {folder} is a folder of the data set, whose files stay as they are: choose '
            'another one'
        )
    return {str(output.image): output.folder / f'{output.stem}{_PNG}' for output in outputs}


def check_flat_names(
    dataset: Any, folder: str | Path, option: str, with_ending: bool = False
) -> None:
    """Stop where pictures that go by their images' file names alone would replace each other.

    Args:
        dataset: see :func:`names_of_outputs`.
        folder: of the files.
        option: what asked for them.
        with_ending: whether ``a.jpg`` and ``a.png`` have two names.

    Raises:
        UserError: two images have one name.
    """
    seen: dict[str, str] = {}
    for info in _infos(dataset):
        path = str(info.get('img_path', ''))
        name = (Path(path).name if with_ending else Path(path).stem).casefold()
        if path and seen.setdefault(name, path) != path:
            raise UserError(
                f'{option} {folder}: {seen[name]} and {path} would be saved under one name, and '
                'what saves them keeps no folders: test them apart'
            )


_FILES = ('img_path', 'seg_map_path')


def _infos(dataset: Any) -> list[Mapping[str, Any]]:
    if not hasattr(dataset, 'get_data_info'):
        return []
    return [dataset.get_data_info(index) for index in range(len(dataset))]


def _root_of(dataset: Any, paths: Sequence[str]) -> str:
    """The image folder of a data set, or the folder that all images share."""
    prefix = getattr(dataset, 'data_prefix', None) or {}
    root = os.path.abspath(prefix.get('img_path') or prefix.get('img') or os.curdir)
    parents = {os.path.dirname(os.path.abspath(path)) for path in paths}
    shared = os.path.commonpath(parents)
    is_below = os.path.commonpath([shared, root]) == root
    return root if is_below and (prefix.get('img_path') or prefix.get('img')) else shared
