"""Data sets and their loading, registered for configs."""

from __future__ import annotations

from ovseg.compat import mmseg_datasets as _quietly_imported  # noqa: F401
from ovseg.datasets.ade import ADE20K150Dataset, ADE847Dataset
from ovseg.datasets.base import LabelMapDataset
from ovseg.datasets.brightness import RandomBrightness
from ovseg.datasets.cityscapes import CityscapesSegDataset
from ovseg.datasets.coco import COCOObjectDataset, COCOStuff164kDataset
from ovseg.datasets.colour_distortion import SSDPhotoMetricDistortion
from ovseg.datasets.context import Context59Dataset, Context60Dataset, Context459Dataset
from ovseg.datasets.image_folder import ImageFolderDataset
from ovseg.datasets.imagenet_subset import DrawnImagesDataset
from ovseg.datasets.labelled_folder import LabelledFolderDataset
from ovseg.datasets.loading import LoadSegLabels
from ovseg.datasets.mask_caption_pairs import MaskCaptionPairs
from ovseg.datasets.originals import KeepOriginalImage, PackWithOriginal
from ovseg.datasets.seeded import SeededSamplesDataset
from ovseg.datasets.unlabelled import SuppressLabels
from ovseg.datasets.voc import VOC20Dataset, VOC21Dataset

__all__ = [
    'ADE20K150Dataset',
    'ADE847Dataset',
    'COCOObjectDataset',
    'COCOStuff164kDataset',
    'CityscapesSegDataset',
    'Context459Dataset',
    'Context59Dataset',
    'Context60Dataset',
    'DrawnImagesDataset',
    'ImageFolderDataset',
    'LabelledFolderDataset',
    'KeepOriginalImage',
    'LabelMapDataset',
    'LoadSegLabels',
    'MaskCaptionPairs',
    'PackWithOriginal',
    'RandomBrightness',
    'SSDPhotoMetricDistortion',
    'SeededSamplesDataset',
    'SuppressLabels',
    'VOC20Dataset',
    'VOC21Dataset',
]
