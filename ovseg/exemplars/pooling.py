"""From masks to vectors: what the patches under a mask have in common."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.dense import NO_MARGINS, Margins
from ovseg.images.windows import Box

IGNORED = 255
# A patch counts as one of a class, not of a border, from this share of its area.
_PURE_SHARE = 0.9


@dataclass(frozen=True)
class WindowGrid:
    """Where the patches of an encoded image lie.

    Attributes:
        boxes: of its windows in the network's input, (y1, x1, y2, x2), end exclusive.
        cells: (h, w) patches of a window.
        margins: pixels by which a window's patches reach beyond its box.
    """

    boxes: list[Box]
    cells: tuple[int, int]
    margins: Margins = NO_MARGINS

    def shares(self, values: Tensor) -> Tensor:
        """Mean of pixel values in each patch, 0 beyond the image.

        Args:
            values: (n, H, W) float, at the size of the network's input.

        Returns:
            (n, windows, h, w).
        """
        top, bottom, left, right = self.margins
        parts = []
        for y1, x1, y2, x2 in self.boxes:
            window = F.pad(values[:, y1:y2, x1:x2], (left, right, top, bottom))
            parts.append(F.adaptive_avg_pool2d(window, self.cells))
        return torch.stack(parts, dim=1)

    def coverage(self, size: tuple[int, int]) -> Tensor:
        """How many windows see each pixel (H, W).

        Args:
            size: (H, W) of the network's input.
        """
        counts = torch.zeros(size)
        for y1, x1, y2, x2 in self.boxes:
            counts[y1:y2, x1:x2] += 1
        return counts


@dataclass(frozen=True)
class Pooled:
    """What an image says of the classes that its labels show.

    Attributes:
        classes: (n,) int64, ascending.
        vectors: (n, D) unit vectors.
        lengths: (n,), of the means before they were brought to unit length: 1 for patches that are
            all alike.
        patches: (n,) float, how many patches' worth of pixels each class has.
        samples: (m, D) unit features of patches that lie all but whole in one class.
        sample_of: (m,) int64, which of the n each of them belongs to.
        context: (D,) mean of all patches of the image.
    """

    classes: Tensor
    vectors: Tensor
    lengths: Tensor
    patches: Tensor
    samples: Tensor
    sample_of: Tensor
    context: Tensor

    def only(self, labels: Collection[int]) -> Pooled:
        """What the image says of some of the classes; the context stays that of all of it.

        Args:
            labels: of the classes, which the image may show or not.
        """
        chosen = torch.isin(self.classes, torch.tensor(list(labels), dtype=torch.int64))
        place = chosen.long().cumsum(0) - 1
        stays = chosen[self.sample_of]
        return Pooled(
            self.classes[chosen],
            self.vectors[chosen],
            self.lengths[chosen],
            self.patches[chosen],
            self.samples[stays],
            place[self.sample_of[stays]],
            self.context,
        )


def pool_labels(
    features: Tensor,
    labels: Tensor,
    grid: WindowGrid,
    most_samples: int | None = None,
) -> Pooled:
    """Vectors of the classes in an image: the mean of its unit features, weighted by a label map.

    A patch counts for a class by its share of the class's pixels; overlapping windows share a
    pixel equally.

    Args:
        features: (windows, D, h, w) of one image.
        labels: (H, W) int64 at the size of the network's input; 255 counts nowhere.
        grid: where the patches lie.
        most_samples: of a class, evenly spaced over its patches; None for all.

    Source: Retrieve and Segment, ``gt_mask_pooling``; samples: ours.
    """
    unit = F.normalize(features.float(), dim=1).movedim(1, -1).reshape(-1, features.shape[1])
    present = labels.unique()
    present = present[present != IGNORED]
    of_class = labels == present[:, None, None]
    shares = grid.shares(of_class.float()).flatten(1)
    coverage = grid.coverage((labels.shape[0], labels.shape[1])).to(labels.device)
    weights = grid.shares(of_class / coverage.clamp_min(1)).flatten(1)
    totals = weights.sum(1)
    seen = totals > 0
    weights = weights[seen] / totals[seen, None]
    pure = [_spread(each, most_samples) for each in shares[seen] > _PURE_SHARE]
    means = weights @ unit
    return Pooled(
        classes=present[seen],
        vectors=F.normalize(means, dim=1),
        lengths=means.norm(dim=1),
        patches=totals[seen],
        samples=torch.cat([unit[:0], *(unit[each] for each in pure)]),
        sample_of=torch.tensor(
            [index for index, each in enumerate(pure) for _ in range(len(each))], dtype=torch.int64
        ),
        context=unit.mean(0),
    )


def _spread(chosen: Tensor, most: int | None) -> Tensor:
    """Indices of a mask's entries, at most so many, evenly spaced."""
    indices = chosen.nonzero()[:, 0]
    if most is None or len(indices) <= most:
        return indices
    places = torch.linspace(0, len(indices) - 1, most, device=indices.device).round().long()
    return indices[places]
