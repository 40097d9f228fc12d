"""Importing this module imports mmdet's data sets and metrics without the lines they print.

onedl-mmdetection prints 'Could not import OneDL' twice wherever the package `onedl` is not
installed, and warns that `faster_coco_eval` is not, which nothing of ours asks for. Configs of
detectors name this module in `custom_imports`; nothing else imports mmdet's data sets. It can go
when mmdet logs the line at the level (DEBUG) which it asks for, and warns where it is used.
"""

from __future__ import annotations

import warnings

from ovseg.compat.quiet_imports import import_without

LINE = 'Could not import OneDL. Skipping OneDL datasets.'

import_without(LINE, 'mmdet.datasets')
with warnings.catch_warnings():
    warnings.filterwarnings('ignore', 'faster_coco_eval is not installed', UserWarning)
    import_without(LINE, 'mmdet.evaluation')
