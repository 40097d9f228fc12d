"""Importing this module imports mmdet's data sets and metrics without the lines they print.

onedl-mmdetection prints 'Could not import OneDL' twice wherever the package `onedl` is not
installed, and warns that `faster_coco_eval` is not, which nothing of ours asks for. Configs of
detectors name this module in `custom_imports`; nothing else imports mmdet's data sets. It can go
when mmdet logs the line at the level (DEBUG) which it asks for, and warns where it is used.

pycocotools 2.0.9 and 2.0.10 compare predictions only with annotation files that have an 'info',
which COCO's format leaves open; it is filled in. That can go when 2.0.11 is the oldest version.
"""

from __future__ import annotations

import warnings
from typing import Any

from ovseg.compat.quiet_imports import import_without

LINE = 'Could not import OneDL. Skipping OneDL datasets.'

import_without(LINE, 'mmdet.datasets')
with warnings.catch_warnings():
    warnings.filterwarnings('ignore', 'faster_coco_eval is not installed', UserWarning)
    import_without(LINE, 'mmdet.evaluation')

from pycocotools.coco import COCO  # noqa: E402

_load_results = COCO.loadRes


def _load_results_without_info(self: COCO, results: Any) -> COCO:
    for key in ('info', 'licenses'):
        self.dataset.setdefault(key, {} if key == 'info' else [])
    return _load_results(self, results)


COCO.loadRes = _load_results_without_info
