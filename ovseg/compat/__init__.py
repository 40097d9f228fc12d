"""Shims that let the MM packages run where their compiled parts are missing.

`install` is called by the first statement of `ovseg/__init__.py`. The shims, and when they can go:

* `mmcv_extension`, with the ops of `mmcv_ops`, takes the place of mmcv's compiled extension if this
  mmcv has none; until mmcv itself falls back to torchvision.
* `mmseg_datasets` imports mmseg's data sets silently; until onedl-mmsegmentation is silent.
* `mmdet_datasets` does the same for mmdet's data sets and metrics, where a config asks for them.
* `plain_yaml` has mmengine read YAML as data, once configs or registries are imported;
  until mmengine does so itself.
* `moved_modules` keeps the names that modules had in version 0.1.0; until version 0.3.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings

from ovseg.compat import moved_modules
from ovseg.compat.mmcv_extension import MMCVExtension

EXTENSION = 'mmcv._ext'

_TOO_LATE = (
    'mmseg.models was imported before ovseg while mmcv has no compiled extension, so some of its '
    'heads (Mask2FormerHead, PointHead and others) stay unusable in this process: import ovseg '
    'before mmseg.'
)


def install() -> None:
    """Serve mmcv's missing compiled ops and modules' old names; a second call changes nothing.

    Does nothing about ops where mmcv is not installed or has its real extension. Imports neither
    mmcv nor torch. Warns, in one sentence, if mmseg's models were imported too early to profit.
    """
    moved_modules.install()
    if EXTENSION in sys.modules or not _mmcv_lacks_extension():
        return
    if 'mmseg.models' in sys.modules:
        warnings.warn(_TOO_LATE, stacklevel=3)

    sys.modules[EXTENSION] = MMCVExtension(EXTENSION)


def _mmcv_lacks_extension() -> bool:
    mmcv = importlib.util.find_spec('mmcv')
    if mmcv is None:
        return False
    # Not `find_spec(EXTENSION)`: that imports mmcv and with it torch and OpenCV.
    path = mmcv.submodule_search_locations
    return not any(finder.find_spec(EXTENSION, path) for finder in sys.meta_path)
