"""From mask proposals and their class scores to labels, without a map a class at full size.

The score map of a class is the sum of all masks, each weighed by its score for the class. That is
linear in the masks, and so is the resize to the image's own size: the masks are resized instead,
strip by strip, and the classes are summed up in chunks of which only the best so far is kept.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ovseg.errors import UserError
from ovseg.scores.upsample import ScoreMaps, input_rows, labels_in_strips, output_strips

# Classes summed up at a time: fewer make matrix products slow.
_CLASSES_AT_ONCE = 256
# Sums held at a time on a CPU, 1 MB: they are compared while they are still in its caches.
_SUMS_IN_CACHE = 2**18


def mask_maps(logits: Tensor, padded_size: tuple[int, int], size: tuple[int, int]) -> ScoreMaps:
    """Mask logits as maps that reach over the padding at the right and the bottom.

    Args:
        logits: (Q, h, w), over the padded image.
        padded_size: (height, width) of the padded image in pixels.
        size: (H, W) of the image in it.

    Raises:
        UserError: an image that is larger than its padded one.
    """
    bottom, right = (padded - side for padded, side in zip(padded_size, size, strict=True))
    if min(bottom, right) < 0:
        raise UserError(
            f'an image of {tuple(size)} pixels does not fit into the padded {tuple(padded_size)}'
        )
    return ScoreMaps(logits[None], [(0, 0, *size)], tuple(size), (0, bottom, 0, right))


def select_queries(maps: ScoreMaps, queries: Tensor) -> ScoreMaps:
    """The maps of some queries.

    Args:
        maps: of :func:`mask_maps`.
        queries: (M,) indices, or (Q,) bool.
    """
    return replace(maps, maps=maps.maps[:, queries])


def mask_probabilities(maps: ScoreMaps) -> Tensor:
    """Masks (Q, H, W) in [0, 1] at the size of the network's image.

    Logits are resized to the padded size and cut; only then comes the sigmoid.

    Args:
        maps: of :func:`mask_maps`.
    """
    if not maps.maps.shape[1]:  # which torch's resize refuses
        return maps.maps.new_empty(0, *maps.input_size)
    return input_rows(maps, 0, maps.input_size[0]).sigmoid()


def segment_masks(
    maps: ScoreMaps,
    class_scores: Tensor,
    output_size: tuple[int, int],
    strip_bytes: int,
    with_scores: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Labels of an image from its masks: ``argmax_k sum_q class_scores[q, k] masks[q]``.

    Args:
        maps: of :func:`mask_maps`, M masks.
        class_scores: (M, K).
        output_size: (H, W) of the original image.
        strip_bytes: about how many bytes a strip of the masks and its sums may take.
        with_scores: also give the score maps; their memory grows with the classes.

    Returns:
        (H, W) int64 labels; (K, H, W) score maps or None. Without masks all scores are 0.

    Raises:
        UserError: not one row of scores a mask.

    Source: OVSeg (arXiv 2210.04150) and MaskFormer (arXiv 2107.06278), semantic inference. They
    resize the score maps, which is the same up to rounding.
    """
    count = maps.maps.shape[1]
    if class_scores.ndim != 2 or len(class_scores) != count:
        raise UserError(f'{count} masks need scores ({count}, K), got {tuple(class_scores.shape)}')
    if not count:
        labels = torch.zeros(output_size, dtype=torch.int64, device=class_scores.device)
        empty = class_scores.new_zeros(class_scores.shape[1], *output_size)
        return labels, empty if with_scores else None
    return labels_in_strips(
        maps,
        output_size,
        lambda masks: best_classes(masks[0], class_scores)[None],
        strip_bytes,
        (lambda masks: sum_of_masks(masks[0], class_scores)[None]) if with_scores else None,
        output_strips(maps, output_size, strip_bytes, torch.sigmoid),
    )


def sum_of_masks(masks: Tensor, class_scores: Tensor) -> Tensor:
    """Score maps (K, ...): masks (M, ...) weighed by scores (M, K) and summed.

    Args:
        masks: (M, H, W) in [0, 1].
        class_scores: (M, K).
    """
    # Not in half precision, whatever the encoders run in: near ties decide labels.
    with torch.autocast(masks.device.type, enabled=False):
        sums = class_scores.float().T @ masks.float().flatten(1)
    return sums.unflatten(1, masks.shape[1:])


def best_classes(masks: Tensor, class_scores: Tensor, at_once: int = _CLASSES_AT_ONCE) -> Tensor:
    """Labels of the largest :func:`sum_of_masks`, which is never held for all classes.

    Args:
        masks: (M, H, W) in [0, 1].
        class_scores: (M, K).
        at_once: classes summed up at a time.

    Returns:
        (H, W) int64; ties go to the first class.

    Example:
        >>> best_classes(torch.eye(3)[:, None], torch.tensor([[1., 0], [0, 2], [3, 4]]), 1)
        tensor([[0, 1, 1]])
    """
    pixels, at_once = masks.flatten(1), min(at_once, class_scores.shape[1])
    # A GPU wants large products; there the sums may take as much as the masks.
    sums = _SUMS_IN_CACHE if masks.device.type == 'cpu' else max(_SUMS_IN_CACHE, masks.numel())
    labels = [
        _best_of_chunks(part, class_scores, at_once)
        for part in pixels.split(max(1, sums // at_once), dim=1)
    ]
    return torch.cat(labels).unflatten(0, masks.shape[1:])


def _best_of_chunks(pixels: Tensor, class_scores: Tensor, at_once: int) -> Tensor:
    """Labels (N,) of masks at some pixels (M, N)."""
    largest = labels = None
    for start in range(0, class_scores.shape[1], at_once):
        # With classes side by side in memory their maximum is found five times faster.
        part = sum_of_masks(class_scores[:, start : start + at_once], pixels)
        best, index = part.max(1)
        if largest is None:
            largest, labels = best, index
            continue
        is_better = best > largest
        labels = torch.where(is_better, index + start, labels)
        largest = torch.where(is_better, best, largest)
    return labels
