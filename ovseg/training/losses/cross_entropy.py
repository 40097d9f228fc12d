"""Cross-entropy of upsampled scores, in strips: the scores never exist at the labels' size.

The plain way resizes (B, K, h, w) scores to the labels' size and keeps that, its softmax and both
their gradients: 2.5 GB for four crops of 512 x 512 and 150 classes. A strip of the labels' rows
needs a few rows of the scores. Its gradient is taken at once, so a strip is forgotten before the
next is made, and what is kept for the backward pass has the size of the scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ovseg.row_resize import resize_rows, rows_read

# Of a strip's scores: on a CPU few enough for its cache, elsewhere enough to be worth a launch.
_CPU_STRIP_BYTES, _STRIP_BYTES = 16 * 2**20, 128 * 2**20


@dataclass(frozen=True)
class PixelCrossEntropy:
    """Sums over the labelled pixels: those whose label is not the one to ignore.

    Attributes:
        loss: (), float32, of ``-log softmax`` at the label.
        right: (), int64, pixels whose label has the highest score, or shares it.
        labelled: (), int64.
        pixels: all of them, labelled or not.
    """

    loss: Tensor
    right: Tensor
    labelled: Tensor
    pixels: int

    def mean(self, only_labelled: bool) -> Tensor:
        """The loss a pixel; 0 without any labelled one.

        Args:
            only_labelled: whether ignored pixels count as pixels without loss (mmseg's default) or
                not at all (``avg_non_ignore``).
        """
        return self.loss / (self.labelled.clamp(min=1) if only_labelled else self.pixels)

    @property
    def accuracy(self) -> Tensor:
        """(), the percentage of labelled pixels that are right; 0 without any."""
        return 100.0 * self.right / self.labelled.clamp(min=1)


def upsampled_cross_entropy(
    scores: Tensor, labels: Tensor, ignore_index: int = 255, strip_bytes: int | None = None
) -> PixelCrossEntropy:
    """The cross-entropy of scores that are resized bilinearly to the labels' size.

    Computed in float32 whatever the scores' type and autocast are. Gradients of gradients do not
    exist.

    Args:
        scores: (B, K, h, w) logits.
        labels: (B, H, W) int64 in [0, K), or `ignore_index`.
        ignore_index: label of pixels that do not count.
        strip_bytes: about how many bytes the scores of a strip may take; None for what suits the
            device.
    """
    if strip_bytes is None:
        strip_bytes = _CPU_STRIP_BYTES if scores.device.type == 'cpu' else _STRIP_BYTES
    # Inside an autograd function gradients are off: whether they are wanted is asked here.
    wanted = torch.is_grad_enabled() and scores.requires_grad
    loss, right = _InStrips.apply(scores, labels, ignore_index, strip_bytes, wanted)
    return PixelCrossEntropy(loss, right, (labels != ignore_index).sum(), labels.numel())


class _InStrips(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, labels: Tensor, ignore_index: int, strip_bytes: int, wanted: bool
    ) -> tuple[Tensor, Tensor]:
        height, size = scores.shape[2], labels.shape[1:]
        loss = scores.new_zeros((), dtype=torch.float32)
        right = labels.new_zeros(())
        gradient = torch.zeros_like(scores, dtype=torch.float32) if wanted else None
        for images, start, stop in _strips(labels.shape, 4 * scores.shape[1], strip_bytes):
            source = (images, slice(None), slice(*rows_read(start, stop, size[0], height)))
            given = labels[images, start:stop]
            with torch.autocast(scores.device.type, enabled=False):
                part = scores[source].detach().float().requires_grad_(wanted)
                with torch.set_grad_enabled(wanted):
                    strip = _resized(part, source[2].start, height, start, stop, size)
                terms, hits = _cross_entropy_(strip.detach(), given, ignore_index)
                if gradient is not None:
                    # By now the strip holds its own gradient.
                    gradient[source] += torch.autograd.grad(strip, part, strip.detach())[0]
            loss += terms
            right += hits
        ctx.save_for_backward(gradient)
        ctx.dtype = scores.dtype
        ctx.mark_non_differentiable(right)
        return loss, right

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor, _: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return (gradient * outer).to(ctx.dtype), None, None, None, None


def _strips(
    shape: torch.Size, pixel_bytes: int, strip_bytes: int
) -> Iterator[tuple[slice, int, int]]:
    """Images and rows that cover (B, H, W): whole images, as many as fit, else rows of one."""
    count, height, width = shape
    rows = max(1, strip_bytes // (pixel_bytes * width))
    images = max(1, rows // height)
    for first in range(0, count, images):
        for start in range(0, height, rows):
            yield slice(first, first + images), start, min(start + rows, height)


def _resized(
    part: Tensor, first: int, height: int, start: int, stop: int, size: torch.Size
) -> Tensor:
    """Rows ``[start, stop)`` of the resized scores, (B, K, rows, W), from the rows they depend on.

    The few source rows are widened first; the wide rows are mixed by a matrix, which is the resize
    of the identity: its gradient is a matrix product, where indexing would scatter.
    """
    count = part.shape[2]
    if part.shape[3] != size[1]:
        part = F.interpolate(part, (count, size[1]), mode='bilinear', align_corners=False)
    if height == size[0]:
        return part.clone()  # The strip is going to be overwritten.
    unit = torch.eye(count, device=part.device)[None]
    (mix,) = resize_rows(unit, start, stop, (size[0], count), first, height)
    return mix @ part


def _cross_entropy_(scores: Tensor, labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Sum of the loss and count of right pixels; the scores become the loss's gradient.

    Args:
        scores: (B, K, rows, W), overwritten: softmax minus one at the label, 0 where ignored.
        labels: (B, rows, W).
        ignore_index: see :func:`upsampled_cross_entropy`.
    """
    ignored = (labels == ignore_index)[:, None]
    own = labels[:, None].masked_fill(ignored, 0)
    scores -= scores.amax(1, keepdim=True)
    of_label = scores.gather(1, own).masked_fill_(ignored, -torch.inf)
    right = (of_label == 0).sum()
    total = scores.exp_().sum(1, keepdim=True)
    terms = (total.log() - of_label).masked_fill_(ignored, 0)
    scores /= total.masked_fill(ignored, torch.inf)
    scores.scatter_add_(1, own, ignored.to(scores.dtype) - 1)
    return terms.sum(), right
