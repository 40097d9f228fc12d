"""Folders that mmseg's own data sets walk, looked at before."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from ovseg.compat.mmseg_datasets import BaseSegDataset
from ovseg.errors import UserError
from ovseg.folders import circular_link
from ovseg.registry import DATASETS


def check_folders(dataset: Any) -> None:
    """Stops where mmseg would follow links in circles: its data sets enter every linked folder.

    Ours read each folder once (:mod:`ovseg.folders`), so they need no such look.

    Args:
        dataset: the config of a data set, or of one around others; objects pass.

    Raises:
        UserError: a link leads back to a folder above it, or a folder cannot be read.
    """
    for part in _parts(dataset):
        named = part.get('type')
        kind: Any = DATASETS.get(named) if isinstance(named, str) else named
        walks = getattr(kind, 'load_data_list', None) is BaseSegDataset.load_data_list
        if not walks or part.get('ann_file') or part.get('backend_args'):
            continue
        prefix = (part.get('data_prefix') or {}).get('img_path') or ''
        folder = os.path.join(part.get('data_root') or '', prefix)
        link = circular_link(folder) if os.path.isdir(folder) else None
        if link is not None:
            raise UserError(
                f"{link} is a link to a folder above it, which mmseg's {kind.__name__} would "
                'follow without end; remove the link, list the images (ann_file), or use '
                'LabelledFolderDataset, which reads each folder once'
            )


def _parts(dataset: Any) -> Iterator[Mapping[str, Any]]:
    """The configs of a data set and of those inside it."""
    if not isinstance(dataset, Mapping):
        return
    yield dataset
    yield from _parts(dataset.get('dataset'))
    for part in dataset.get('datasets') or ():
        yield from _parts(part)
