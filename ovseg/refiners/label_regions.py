"""Connected regions of coarse labels: where each lies and where it is surest.

All regions are numbered in one map. Their areas, boxes and surest points come from passes over that
map, so nothing grows with the number of regions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ovseg.scores.coarse_map import CoarseMap

# Pixels that touch at a corner belong together.
_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class Regions:
    """n regions, ordered by class and, within a class, by their first pixel in raster order.

    Attributes:
        numbers: (h, w) int64, 1 to n, or 0 outside of all regions.
        classes: (n,) int64, ascending.
        boxes: (n, 4) int64, (x1, y1, x2, y2) in pixels, both ends inclusive.
        points: (n, 2) int64, (x, y) of the pixel with the largest probability of the region's
            class, the first of equal ones.
    """

    numbers: Tensor
    classes: Tensor
    boxes: Tensor
    points: Tensor


def find_regions(coarse: CoarseMap, threshold: float, min_area: int) -> Regions:
    """Returns the 8-connected regions of each class that are sure and large enough.

    Args:
        coarse: labels and probabilities.
        threshold: pixels whose largest probability is below it belong to no region, nor do classes
            that reach it nowhere.
        min_area: pixels that a region must have.

    Source: Trident (arXiv 2411.09219), its refinement by SAM, as in its released code.
    """
    sure = (coarse.largest >= threshold) & (coarse.peaks >= threshold)[coarse.labels]
    # One map without a class of its own for "none": 0.
    labels = torch.where(sure, coarse.labels + 1, 0).cpu().numpy()
    components, classes = _components(labels)
    large = np.bincount(components.ravel(), minlength=len(classes) + 1)[1:] >= min_area
    renumbered = np.concatenate([[0], np.where(large, np.cumsum(large), 0)])
    numbers = renumbered[components]
    boxes = [(x.start, y.start, x.stop - 1, y.stop - 1) for y, x in ndimage.find_objects(numbers)]
    device = coarse.labels.device
    numbers = torch.from_numpy(numbers).to(device)
    return Regions(
        numbers,
        torch.from_numpy(classes[large]).to(device),
        torch.tensor(boxes, dtype=torch.int64, device=device).reshape(-1, 4),
        _surest_points(numbers, coarse.confidence, len(boxes)),
    )


def _components(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (h, w) from 1 of the regions of labels from 1, and each region's class."""
    numbers = np.zeros(labels.shape, dtype=np.int64)
    classes: list[np.ndarray] = []
    count = 0
    for index, box in enumerate(ndimage.find_objects(labels)):
        if box is None:  # no pixel has this label
            continue
        inside = labels[box] == index + 1
        found, added = ndimage.label(inside, structure=_EIGHT_NEIGHBOURS)
        numbers[box][inside] = found[inside] + count
        classes.append(np.full(added, index))
        count += added
    return numbers, np.concatenate([np.empty(0, dtype=np.int64), *classes])


def _surest_points(numbers: Tensor, confidence: Tensor, count: int) -> Tensor:
    """(count, 2) int64, (x, y) of each region's most confident pixel."""
    region, value = numbers.flatten(), confidence.flatten()
    largest = value.new_full((count + 1,), float('-inf'))
    largest = largest.scatter_reduce(0, region, value, 'amax')
    at_largest = (value == largest[region]).nonzero()[:, 0]
    first = region.new_full((count + 1,), region.numel())
    first = first.scatter_reduce(0, region[at_largest], at_largest, 'amin')[1:]
    width = numbers.shape[1]
    return torch.stack([first % width, first // width], dim=1)
