"""Many masks of many classes become one label map, strip by strip.

The plain way holds every mask at full size: 8 MB for each region of a 2048 x 1024 image. Here each
strip of rows takes its part of all masks through the chain of resizes, fuses it and forgets it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.prompted_sam import SAMImage
from ovseg.regions.mask_maps import mask_maps
from ovseg.scores.coarse_map import STRIPS
from ovseg.scores.row_map import RowMap, resized

_FLOAT_BYTES = 4


@dataclass(frozen=True)
class RegionMasks:
    """SAM's masks of R regions, at least one, ordered by class.

    Attributes:
        low_res: (R, s, s) logits on the whole frame.
        classes: (R,) int64, ascending.
        image: which part of the frame is the image, and its size.
        threshold: logits above it belong to the mask.
    """

    low_res: Tensor
    classes: Tensor
    image: SAMImage
    threshold: float

    def at(self, size: tuple[int, int]) -> RowMap:
        """Logits, R maps, at an output of `size` (H, W).

        The chain is SAM's ``postprocess_masks`` (the padded frame if there is one, its part with
        the image, the image's size) and, if that is another one, the output's size. All resizes are
        bilinear.
        """
        inside = mask_maps(self.low_res, self.image.canvas, self.image.input_size)
        return resized(resized(inside, self.image.image_size), size)


@dataclass(frozen=True, eq=False)
class Fused:
    """What the masks made of an image.

    Attributes:
        labels: (H, W) int64.
        own: (H, W) float32, the score of each pixel's own label: within its masks probability
            times strength, elsewhere the probability.
        scores: (K, H, W), or None if not asked for. A class has a score above 0 only within its
            masks, or where a region had no good mask.
    """

    labels: Tensor
    own: Tensor
    scores: Tensor | None


def fuse_masks(
    masks: RegionMasks,
    coarse: Tensor,
    shares: RowMap,
    failed: Tensor | None = None,
    with_scores: bool = False,
) -> Fused:
    """Returns each pixel's label, by its class probabilities and the masks that cover it.

    Args:
        masks: of the regions that were kept.
        coarse: (H, W) int64 labels; pixels outside of all masks keep theirs.
        shares: class probabilities at (H, W); read once, from top to bottom.
        failed: (h, w) bool at another size, where regions had no good mask; their probabilities
            stand in the returned scores, but decide no label. None if there are none.
        with_scores: whether scores are returned.

    Source: Trident (arXiv 2411.09219), its refinement by SAM, as in its released code.
    """
    size = shares.size
    classes, counts = masks.classes.unique_consecutive(return_counts=True)
    regions_of_class = counts.tolist()
    labels = torch.empty_like(coarse)
    own = torch.empty(size, device=coarse.device)
    fused: Tensor | None = None
    if with_scores:
        fused = torch.zeros(shares.channels, *size, device=coarse.device)
    if failed is not None:
        failed = F.interpolate(failed[None, None].float(), size=size, mode='nearest')[0, 0] > 0
    logits_at = masks.at(size)
    values = shares.channels * size[1] + logits_at.values_a_row
    for start, stop in STRIPS.strips(size[0], _FLOAT_BYTES * values):
        probabilities = shares.rows(start, stop)
        logits = largest_of_class(logits_at.rows(start, stop), regions_of_class)
        covered = logits > masks.threshold
        class_scores = mask_scores(logits.sigmoid(), covered, probabilities[classes])
        largest, part = decide_labels(class_scores, classes, coarse[start:stop])
        labels[start:stop] = part
        own_probability = probabilities.gather(0, part[None])[0]
        known = torch.where(largest > 0, largest, own_probability)
        if failed is not None:
            known = torch.maximum(known, own_probability * failed[start:stop])
        own[start:stop] = known
        if fused is not None:
            fused[classes, start:stop] = class_scores
            if failed is not None:
                fused[:, start:stop] = restore_failed(
                    fused[:, start:stop], probabilities, failed[start:stop]
                )
    return Fused(labels, own, fused)


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


def decide_labels(class_scores: Tensor, classes: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
    """The largest score, and its class, the first of equal ones; the coarse label without any.

    Args:
        class_scores: (C, ...), not negative.
        classes: (C,) int64, ascending.
        coarse: (...) int64.
    """
    largest, index = class_scores.max(dim=0)
    return largest, torch.where(largest > 0, classes[index], coarse)


def restore_failed(scores: Tensor, probabilities: Tensor, failed: Tensor) -> Tensor:
    """Scores with all classes' probabilities as a lower bound where a region has no good mask.

    Args:
        scores: (K, ...).
        probabilities: (K, ...).
        failed: (...) bool.
    """
    return torch.maximum(scores, probabilities * failed)
