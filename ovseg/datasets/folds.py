"""The folds of the few-shot protocols PASCAL-5i and COCO-20i: which classes are novel in each."""

from __future__ import annotations

from collections.abc import Sequence

from ovseg.errors import UserError, nearest

FOLDS = 4
# Protocol -> the data set whose classes it divides.
FOLD_DATASETS = {'pascal-5i': 'voc20', 'coco-20i': 'coco_object'}


def fold_labels(protocol: str, fold: int) -> tuple[int, ...]:
    """Numbers of a fold's novel classes, the first class being 1, as in VOC's label maps.

    PASCAL-5i takes five neighbours at a time, COCO-20i every fourth of the 80 categories.

    Args:
        protocol: ``'pascal-5i'`` or ``'coco-20i'``.
        fold: 0 to 3.

    Raises:
        UserError: there is no such protocol or fold.

    Source: Shaban et al., One-Shot Learning for Semantic Segmentation (arXiv 1709.03410), table 1;
    Nguyen and Todorovic, Feature Weighting and Boosting (arXiv 1909.13140) for COCO-20i.

    Example:
        >>> fold_labels('pascal-5i', 1), fold_labels('coco-20i', 0)[:4]
        ((6, 7, 8, 9, 10), (1, 5, 9, 13))
    """
    if protocol not in FOLD_DATASETS:
        raise UserError(
            f'there are folds of {" and ".join(FOLD_DATASETS)}, not of {protocol!r}.'
            + nearest(protocol, FOLD_DATASETS)
        )
    if fold not in range(FOLDS):
        raise UserError(f'{protocol} has folds 0 to {FOLDS - 1}, not {fold!r}')
    if protocol == 'pascal-5i':
        return tuple(range(5 * fold + 1, 5 * fold + 6))
    return tuple(range(fold + 1, 81, FOLDS))


def fold_groups(protocol: str, fold: int, classes: Sequence[str]) -> dict[str, list[str]]:
    """Names of a fold's novel and base classes: the ``groups`` of ``OVIoUMetric``.

    The scores ``mIoU_novel`` and ``mIoU_base`` are then those of the generalised protocol, in
    which both compete. We train on no base class: that has to stand beside such numbers.

    Args:
        protocol: see :func:`fold_labels`.
        fold: likewise.
        classes: of the data set, in label order; with the background as class 0 or without.

    Raises:
        UserError: likewise, or another number of classes than the protocol divides.
    """
    novel = fold_labels(protocol, fold)
    count = 20 if protocol == 'pascal-5i' else 80
    if len(classes) not in (count, count + 1):
        raise UserError(f'{protocol} divides {count} classes, the data set has {len(classes)}')
    names = list(classes)[len(classes) - count :]
    chosen = [names[label - 1] for label in novel]
    return {'novel': chosen, 'base': [name for name in names if name not in chosen]}
