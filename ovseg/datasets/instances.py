"""Images of an annotation file in COCO's instance format, whose things a model is to find."""

from __future__ import annotations

from typing import Any, ClassVar

from ovseg.datasets.coco_files import check_coco
from ovseg.datasets.panoptic import PanopticDataset
from ovseg.datasets.panoptic_files import AnnotatedImage, Category, PanopticFile
from ovseg.input_files import read_json
from ovseg.registry import DATASETS
from ovseg.vocabulary.thing_sets import panoptic_facts

_OF_MAPS = ('seg_map_path', 'segments')
_COCO = panoptic_facts('coco_panoptic')
_THINGS = len(_COCO['thing_classes'])  # COCO lists them first


@DATASETS.register_module()
class InstanceDataset(PanopticDataset):
    """Images with things alone, as COCO's instance files list them: every class is a thing.

    The annotations themselves are read by the metric (``MaskAPMetric``'s ``ann_file``), as mmdet
    does it. Classes are those of the file, in its order, or a choice of them by ``metainfo``.

    Args and raises as in :class:`PanopticDataset`; ``data_prefix`` names ``img_path`` alone, and
    the pipeline loads no annotation.
    """

    FOLDERS: ClassVar[tuple[str, ...]] = ('img_path',)

    @staticmethod
    def read_file(path: str) -> PanopticFile:
        """The images and categories of an annotation file, those without an object too."""
        check_coco(path)
        content = read_json(path)
        return PanopticFile(
            tuple(
                AnnotatedImage(each['id'], each['file_name'], '', ()) for each in content['images']
            ),
            tuple(Category(each['id'], each['name'], True) for each in content['categories']),
        )

    def _sample(
        self, image: AnnotatedImage, label_of: dict[int, int], stuff: tuple[int, ...]
    ) -> dict[str, Any]:
        sample = super()._sample(image, label_of, stuff)
        return {key: value for key, value in sample.items() if key not in _OF_MAPS}


@DATASETS.register_module()
class COCOInstancesDataset(InstanceDataset):
    """COCO 2017: 80 classes of things, 5000 validation images."""

    METAINFO: ClassVar[dict[str, Any]] = {key: values[:_THINGS] for key, values in _COCO.items()}
