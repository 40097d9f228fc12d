"""The panoptic benchmarks: COCO, ADE20K, Cityscapes and Mapillary Vistas."""

from __future__ import annotations

from ovseg.datasets.panoptic import PanopticDataset
from ovseg.datasets.panoptic_files import AnnotatedImage
from ovseg.registry import DATASETS
from ovseg.vocabulary.thing_sets import panoptic_facts


@DATASETS.register_module()
class COCOPanopticDataset(PanopticDataset):
    """COCO 2017 panoptic: 80 things and 53 stuffs, 5000 validation images."""

    METAINFO = panoptic_facts('coco_panoptic')
    PREPARED_BY = 'coco_panoptic'


@DATASETS.register_module()
class ADE20KPanopticDataset(PanopticDataset):
    """ADE20K-150, 100 of its classes things, as MaskFormer's converter makes it."""

    METAINFO = panoptic_facts('ade20k')
    PREPARED_BY = 'ade20k_panoptic'


@DATASETS.register_module()
class CityscapesPanopticDataset(PanopticDataset):
    """Cityscapes' 19 classes, eight of them things; their groups are crowds."""

    METAINFO = panoptic_facts('cityscapes')
    PREPARED_BY = 'cityscapes_panoptic'

    def image_name(self, image: AnnotatedImage) -> str:
        """In the folder of its city, under the name that the authors' script changed."""
        name = image.file_name.replace('_gtFine_leftImg8bit', '_leftImg8bit')
        is_theirs = '/' not in name and name.endswith('_leftImg8bit.png')
        return f'{name.split("_")[0]}/{name}' if is_theirs else name


@DATASETS.register_module()
class MapillaryPanopticDataset(PanopticDataset):
    """Mapillary Vistas 1.2: 65 classes, 37 of them things."""

    METAINFO = panoptic_facts('mapillary_panoptic')
    PREPARED_BY = 'mapillary_panoptic'
