"""Detectors for mmdet. Importing this package imports mmdet's models, data sets and metrics.

Configs of detectors name it in ``custom_imports``; nothing else of ovseg imports it.
"""

from ovseg.compat import mmdet_datasets as _quietly_imported  # noqa: F401
from ovseg.training.detectors.dense_clip import DenseCLIPMaskRCNN, DenseCLIPRetinaNet

__all__ = ['DenseCLIPMaskRCNN', 'DenseCLIPRetinaNet']
