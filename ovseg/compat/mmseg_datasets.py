"""What we use of `mmseg.datasets`, imported without the two lines that it prints.

onedl-mmsegmentation prints 'Could not import OneDL' wherever the package `onedl` is not installed,
on the standard output of every tool that touches a data set. It can go when mmseg logs that line
at the level (DEBUG) which it asks for.
"""

from __future__ import annotations

from ovseg.compat.quiet_imports import import_without

import_without('Could not import OneDL', 'mmseg.datasets')

from mmseg.datasets import (  # noqa: E402
    ADE20KDataset,
    BaseSegDataset,
    CityscapesDataset,
    COCOStuffDataset,
    PascalContextDataset,
    PascalContextDataset59,
    PascalVOCDataset,
)
from mmseg.datasets.transforms import PackSegInputs, PhotoMetricDistortion  # noqa: E402

__all__ = [
    'ADE20KDataset',
    'BaseSegDataset',
    'COCOStuffDataset',
    'CityscapesDataset',
    'PackSegInputs',
    'PascalContextDataset',
    'PascalContextDataset59',
    'PascalVOCDataset',
    'PhotoMetricDistortion',
]
