"""Which classes of the panoptic benchmarks are things, and their numbers in annotation files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ovseg.vocabulary.palette import make_palette
from ovseg.vocabulary.protocols import METAINFO, protocol_words

Spans = tuple[tuple[int, int], ...]

# Labels of the things as spans (first, last). Of ADE20K's 150 classes the 100 that its instance
# annotations tell apart. Source: MaskFormer's and FC-CLIP's release, data sets.
_THINGS: dict[str, Spans] = {
    'coco_panoptic': ((0, 79),),
    'ade20k': (
        *((7, 8), (10, 10), (12, 12), (14, 15), (18, 20), (22, 24), (27, 27), (30, 33), (35, 39)),
        *((41, 45), (47, 47), (49, 50), (53, 53), (55, 58), (62, 62), (64, 67), (69, 76)),
        *((78, 78), (80, 83), (85, 90), (92, 93), (95, 95), (97, 98), (102, 104), (107, 108)),
        *((110, 112), (115, 116), (118, 121), (123, 127), (129, 130), (132, 139), (142, 144)),
        (146, 149),
    ),
    'cityscapes': ((11, 18),),
    'mapillary_panoptic': ((0, 1), (8, 8), (19, 23), (32, 42), (44, 57), (59, 62)),
}
# Ids of the classes in label order, as spans. Sources: COCO 2018 panoptic; MaskFormer's converter
# of ADE20K; cityscapesScripts, helpers/labels.py; Mapillary Vistas 1.2, panoptic_2018.json.
_CATEGORY_IDS: dict[str, Spans] = {
    'coco_panoptic': (
        *((1, 11), (13, 25), (27, 28), (31, 44), (46, 65), (67, 67), (70, 70), (72, 82), (84, 90)),
        *((92, 93), (95, 95), (100, 100), (107, 107), (109, 109), (112, 112), (118, 119)),
        *((122, 122), (125, 125), (128, 128), (130, 130), (133, 133), (138, 138), (141, 141)),
        *((144, 145), (147, 149), (151, 151), (154, 156), (159, 159), (161, 161), (166, 166)),
        *((168, 168), (171, 171), (175, 178), (180, 181), (184, 200)),
    ),
    'ade20k': ((0, 149),),
    'cityscapes': ((7, 8), (11, 13), (17, 17), (19, 28), (31, 33)),
    'mapillary_panoptic': ((1, 65),),
}


def panoptic_facts(dataset: str) -> dict[str, Any]:
    """The facts of a data set whose things are told apart, as mmengine's data sets hold them.

    Args:
        dataset: ``'coco_panoptic'``, ``'ade20k'``, ``'cityscapes'`` or ``'mapillary_panoptic'``.

    Returns:
        ``classes`` in label order, ``palette``, ``thing_classes`` (names) and ``category_ids``, one
        a class.

    Raises:
        KeyError: another data set.

    Example:
        >>> facts = panoptic_facts('cityscapes')
        >>> len(facts['classes']), facts['thing_classes'][:3], facts['category_ids'][:3]
        (19, ('person', 'rider', 'car'), (7, 8, 11))
    """
    classes = protocol_words(dataset, METAINFO)[0]
    return {
        'classes': classes,
        'palette': make_palette(len(classes)),
        'thing_classes': tuple(classes[label] for label in _numbers(_THINGS[dataset])),
        'category_ids': tuple(_numbers(_CATEGORY_IDS[dataset])),
    }


def _numbers(spans: Spans) -> Iterable[int]:
    return (number for first, last in spans for number in range(first, last + 1))
