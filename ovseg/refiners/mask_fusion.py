"""Many masks of many classes become one label map, strip by strip.

The plain way holds every mask at full size: 8 MB for each region of a 2048 x 1024 image. Here each
strip of rows takes its part of all masks through the chain of resizes, fuses it and forgets it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.sam_image import SAMImage
from ovseg.row_resize import read_resized, resize_rows
from ovseg.scores.coarse_map import CoarseScores, row_strips


@dataclass(frozen=True)
class RegionMasks:
    """SAM's masks of R regions, at least one, ordered by class.

    Attributes:
        low_res: (R, s, s) logits on the whole padded frame.
        classes: (R,) int64, ascending.
        frame: side of the frame in pixels.
        image: which part of the frame is the image, and its size.
        threshold: logits above it belong to the mask.
    """

    low_res: Tensor
    classes: Tensor
    frame: int
    image: SAMImage
    threshold: float

    def rows(self, size: tuple[int, int], start: int, stop: int) -> Tensor:
        """Logits (R, stop - start, W) of some rows of an output of `size` (H, W).

        The chain is SAM's ``postprocess_masks`` (the frame, its part with the image, the image's
        size) and, if that is another one, the output's size. All resizes are bilinear.
        """
        image = self.image

        def input_rows(first: int, last: int) -> Tensor:
            rows = resize_rows(self.low_res, first, last, (self.frame, self.frame))
            return rows[..., : image.input_size[1]]

        def image_rows(first: int, last: int) -> Tensor:
            return read_resized(input_rows, image.input_size[0], image.image_size, first, last)

        return read_resized(image_rows, image.image_size[0], size, start, stop)

    def values_per_row(self, size: tuple[int, int]) -> float:
        """How many numbers :meth:`rows` makes for one row of the output."""
        height, width = size
        image_height, image_width = self.image.image_size
        frame = self.frame * self.image.input_size[0] / height
        return len(self.classes) * (width + image_width * image_height / height + frame)


def fuse_masks(
    masks: RegionMasks,
    coarse: Tensor,
    scores: CoarseScores,
    failed: Tensor | None = None,
    with_scores: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Returns each pixel's label, by its class probabilities and the masks that cover it.

    Args:
        masks: of the regions that were kept.
        coarse: (H, W) int64 labels; pixels outside of all masks keep theirs.
        scores: class probabilities at (H, W); read once, from top to bottom.
        failed: (h, w) bool at another size, where regions had no good mask; their probabilities
            stand in the returned scores, but decide no label. None if there are none.
        with_scores: whether scores are returned.

    Returns:
        (H, W) int64 labels and (K, H, W) scores or None. A class has a score above 0 only within
        its masks (or in `failed`).

    Source: Trident (arXiv 2411.09219), its refinement by SAM, as in its released code.
    """
    size = scores.size
    classes, counts = masks.classes.unique_consecutive(return_counts=True)
    regions_of_class = counts.tolist()
    labels = torch.empty_like(coarse)
    fused: Tensor | None = None
    if with_scores:
        fused = torch.zeros(scores.num_classes, *size, device=coarse.device)
    if failed is not None:
        failed = F.interpolate(failed[None, None].float(), size=size, mode='nearest')[0, 0] > 0
    values = scores.num_classes * size[1] + masks.values_per_row(size)
    for start, stop in row_strips(size[0], values):
        probabilities = scores.rows(start, stop)
        logits = largest_of_class(masks.rows(size, start, stop), regions_of_class)
        covered = logits > masks.threshold
        class_scores = mask_scores(logits.sigmoid(), covered, probabilities[classes])
        labels[start:stop] = decide_labels(class_scores, classes, coarse[start:stop])
        if fused is not None:
            fused[classes, start:stop] = class_scores
            if failed is not None:
                fused[:, start:stop] = restore_failed(
                    fused[:, start:stop], probabilities, failed[start:stop]
                )
    return labels, fused


def largest_of_class(values: Tensor, regions_of_class: list[int]) -> Tensor:
    """(R, ...) values of regions -> (C, ...), the largest among each class's regions.

    Args:
        values: ordered by class.
        regions_of_class: how many regions each of the C classes has, at least one.
    """
    return torch.stack([part.amax(dim=0) for part in values.split(regions_of_class)])


def mask_scores(strengths: Tensor, covered: Tensor, probabilities: Tensor) -> Tensor:
    """Scores of classes that have masks: probability times strength within the masks, 0 outside.

    The reference multiplies before it takes the largest of a class's regions. Probabilities are
    not negative, so the largest product is that of the largest strength; and as the sigmoid rises,
    that of the largest logit, which lies above the threshold exactly where any of the masks does.

    Args:
        strengths: (C, ...), the largest sigmoid of each class's masks.
        covered: (C, ...) bool, whether any of them covers the pixel.
        probabilities: (C, ...) of the classes.
    """
    return probabilities * strengths * covered


def decide_labels(class_scores: Tensor, classes: Tensor, coarse: Tensor) -> Tensor:
    """The class with the largest score, the first of equal ones; the coarse label without any.

    Args:
        class_scores: (C, ...), not negative.
        classes: (C,) int64, ascending.
        coarse: (...) int64.
    """
    largest, index = class_scores.max(dim=0)
    return torch.where(largest > 0, classes[index], coarse)


def restore_failed(scores: Tensor, probabilities: Tensor, failed: Tensor) -> Tensor:
    """Scores with all classes' probabilities as a lower bound where a region has no good mask.

    Args:
        scores: (K, ...).
        probabilities: (K, ...).
        failed: (...) bool.
    """
    return torch.maximum(scores, probabilities * failed)
