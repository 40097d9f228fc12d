"""Data sets and their loading, registered for configs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovseg.lazy import lazy_names

if TYPE_CHECKING:  # what editors and type checkers read instead of __getattr__
    from ovseg.datasets.ade import ADE20K150Dataset, ADE847Dataset
    from ovseg.datasets.base import LabelMapDataset
    from ovseg.datasets.brightness import RandomBrightness
    from ovseg.datasets.cityscapes import CityscapesSegDataset
    from ovseg.datasets.coco import COCOObjectDataset, COCOStuff164kDataset
    from ovseg.datasets.colour_distortion import SSDPhotoMetricDistortion
    from ovseg.datasets.context import Context59Dataset, Context60Dataset, Context459Dataset
    from ovseg.datasets.defects import DefectFolderDataset, LoadDefectMask
    from ovseg.datasets.image_folder import ImageFolderDataset
    from ovseg.datasets.imagenet_subset import DrawnImagesDataset
    from ovseg.datasets.instances import COCOInstancesDataset, InstanceDataset
    from ovseg.datasets.labelled_folder import LabelledFolderDataset
    from ovseg.datasets.loading import LoadSegLabels
    from ovseg.datasets.mask_caption_pairs import MaskCaptionPairs
    from ovseg.datasets.originals import KeepOriginalImage, PackWithOriginal
    from ovseg.datasets.panoptic import PanopticDataset
    from ovseg.datasets.panoptic_loading import LoadPanopticMap
    from ovseg.datasets.panoptic_sets import (
        ADE20KPanopticDataset,
        CityscapesPanopticDataset,
        COCOPanopticDataset,
        MapillaryPanopticDataset,
    )
    from ovseg.datasets.panoptic_targets import SegmentNumbers
    from ovseg.datasets.seeded import SeededSamplesDataset
    from ovseg.datasets.unlabelled import SuppressLabels
    from ovseg.datasets.voc import VOC20Dataset, VOC21Dataset

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        'ovseg.datasets.ade': ['ADE20K150Dataset', 'ADE847Dataset'],
        'ovseg.datasets.base': ['LabelMapDataset'],
        'ovseg.datasets.brightness': ['RandomBrightness'],
        'ovseg.datasets.cityscapes': ['CityscapesSegDataset'],
        'ovseg.datasets.coco': ['COCOObjectDataset', 'COCOStuff164kDataset'],
        'ovseg.datasets.colour_distortion': ['SSDPhotoMetricDistortion'],
        'ovseg.datasets.context': ['Context59Dataset', 'Context60Dataset', 'Context459Dataset'],
        'ovseg.datasets.defects': ['DefectFolderDataset', 'LoadDefectMask'],
        'ovseg.datasets.image_folder': ['ImageFolderDataset'],
        'ovseg.datasets.imagenet_subset': ['DrawnImagesDataset'],
        'ovseg.datasets.instances': ['COCOInstancesDataset', 'InstanceDataset'],
        'ovseg.datasets.labelled_folder': ['LabelledFolderDataset'],
        'ovseg.datasets.loading': ['LoadSegLabels'],
        'ovseg.datasets.mask_caption_pairs': ['MaskCaptionPairs'],
        'ovseg.datasets.originals': ['KeepOriginalImage', 'PackWithOriginal'],
        'ovseg.datasets.panoptic': ['PanopticDataset'],
        'ovseg.datasets.panoptic_loading': ['LoadPanopticMap'],
        'ovseg.datasets.panoptic_targets': ['SegmentNumbers'],
        'ovseg.datasets.panoptic_sets': [
            'ADE20KPanopticDataset',
            'COCOPanopticDataset',
            'CityscapesPanopticDataset',
            'MapillaryPanopticDataset',
        ],
        'ovseg.datasets.seeded': ['SeededSamplesDataset'],
        'ovseg.datasets.unlabelled': ['SuppressLabels'],
        'ovseg.datasets.voc': ['VOC20Dataset', 'VOC21Dataset'],
    },
)

__all__ = [
    'ADE20K150Dataset',
    'ADE20KPanopticDataset',
    'ADE847Dataset',
    'COCOInstancesDataset',
    'COCOObjectDataset',
    'COCOPanopticDataset',
    'COCOStuff164kDataset',
    'CityscapesPanopticDataset',
    'CityscapesSegDataset',
    'Context459Dataset',
    'Context59Dataset',
    'Context60Dataset',
    'DefectFolderDataset',
    'DrawnImagesDataset',
    'ImageFolderDataset',
    'InstanceDataset',
    'LabelledFolderDataset',
    'KeepOriginalImage',
    'LabelMapDataset',
    'LoadDefectMask',
    'LoadPanopticMap',
    'LoadSegLabels',
    'MapillaryPanopticDataset',
    'MaskCaptionPairs',
    'PackWithOriginal',
    'PanopticDataset',
    'RandomBrightness',
    'SSDPhotoMetricDistortion',
    'SegmentNumbers',
    'SeededSamplesDataset',
    'SuppressLabels',
    'VOC20Dataset',
    'VOC21Dataset',
]
