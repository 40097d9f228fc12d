"""Labels of patches: which share of a patch each class has, and the loss that they are for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.dense import Margins
from ovseg.images.windows import Box

# In no data set a class.
_NONE = -1


@dataclass(frozen=True, eq=False)
class PatchLabels:
    """Shares of classes in patches, those that are 0 left out.

    Attributes:
        patch: (M,) int64, which patch.
        label: (M,) int64, which class.
        share: (M,) float, of the patch's pixels; what is labelled with no class belongs to none,
            so that a patch's shares may sum to less than 1.
    """

    patch: Tensor
    label: Tensor
    share: Tensor

    def pixels(self, classes: int) -> Tensor:
        """Summed shares (K,) of each class."""
        return self.share.new_zeros(classes).index_add_(0, self.label, self.share)


def label_patches(
    labels: Tensor,
    classes: int,
    boxes: list[Box],
    input_size: tuple[int, int],
    grid: tuple[int, int],
    margins: Margins,
) -> PatchLabels:
    """Shares of classes in the patches of an image's windows, window after window, row-major.

    Args:
        labels: (H, W) integers; what is no class is ignored.
        classes: K.
        boxes: windows (y1, x1, y2, x2) in pixels of the network's input.
        input_size: (height, width) of that input; labels of another size are taken at its pixels.
        grid: (h, w) of a window's patches.
        margins: how far a map reaches beyond its window, (top, bottom, left, right).
    """
    if tuple(labels.shape) != input_size:
        scaled = F.interpolate(labels[None, None].double(), input_size, mode='nearest-exact')
        labels = scaled[0, 0]
    labels = labels.long()
    labels = torch.where((labels >= 0) & (labels < classes), labels, _NONE)
    top, bottom, left, right = margins
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for number, (y1, x1, y2, x2) in enumerate(boxes):
        window = F.pad(labels[y1:y2, x1:x2], (left, right, top, bottom), value=_NONE)
        present = window.unique()
        present = present[present != _NONE]
        masks = (window == present[:, None, None]).float()
        shares = F.adaptive_avg_pool2d(masks[None], grid)[0].flatten(1)
        row, patch = shares.nonzero(as_tuple=True)
        found.append((number * grid[0] * grid[1] + patch, present[row], shares[row, patch]))
    patches, present, shares = (torch.cat(parts) for parts in zip(*found, strict=True))
    return PatchLabels(patches, present, shares)


def patch_cross_entropy(
    scores: Tensor, labels: PatchLabels, absent: Tensor | None = None
) -> Tensor:
    """Mean cross entropy of labelled pixels, where all pixels of a patch have its scores.

    Args:
        scores: (N, K), scaled as before a softmax.
        labels: of these patches.
        absent: (K,) bool, classes that take no part in the softmax; None for none.
    """
    if absent is not None:
        scores = scores.masked_fill(absent, float('-inf'))
    wanted = scores.log_softmax(-1)[labels.patch, labels.label]
    return -(labels.share * wanted).sum() / labels.share.sum().clamp_min(1e-6)
