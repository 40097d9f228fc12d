"""Regions cut out of an image for CLIP: masked, normalised, resized to one size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import open_clip
import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.settings import read_settings
from ovseg.sizes import spatial_size

_MEAN = tuple(255 * value for value in open_clip.OPENAI_DATASET_MEAN)
_STD = tuple(255 * value for value in open_clip.OPENAI_DATASET_STD)


@dataclass(frozen=True)
class RegionSettings:
    """How regions are cut out.

    Attributes:
        threshold: in [0, 1); a pixel belongs to a mask whose probability is above it. Published
            0.4 (Swin-B), 0.5 (R101c), 0.35 (demo).
        fill: colour around the mask: ``'mean'`` of the normalisation, ``'zero'``, or RGB in
            [0, 255].
        expand_ratio: sides of a crop by those of the mask's box, at least 1.
        matting: the probability instead of the thresholded mask blends region and fill, and is
            the region's mask.
        size: S, side of the regions in pixels.
        mean: pixel mean of the normalisation, RGB in [0, 255]; CLIP's.
        std: pixel standard deviation, likewise.
        batch_megabytes: about how much memory full-size masks, and later the tokens of regions in
            CLIP, may take at once, see
            :func:`~ovseg.regions.region_embeddings.embed_regions`. The regions themselves come
            on top, 0.8 MB each with 224 pixels a side.
    """

    threshold: float = 0.4
    fill: Literal['mean', 'zero'] | Sequence[float] = 'mean'
    expand_ratio: float = 1.0
    matting: bool = False
    size: int = 224
    mean: Sequence[float] = _MEAN
    std: Sequence[float] = _STD
    batch_megabytes: float = 256.0

    def __post_init__(self) -> None:
        """Checks the values."""
        if not 0 <= self.threshold < 1:
            raise UserError(f'regions.threshold must lie in [0, 1), got {self.threshold}')
        if not self.expand_ratio >= 1:
            raise UserError(
                f'regions.expand_ratio must be at least 1, got {self.expand_ratio}: a smaller crop '
                'would cut the mask'
            )
        if self.size < 1 or not self.batch_megabytes > 0:
            raise UserError('regions.size and regions.batch_megabytes must be positive')
        for name in ('mean', 'std'):
            _check_colour(name, getattr(self, name))
        if min(self.std) <= 0:
            raise UserError(f'regions.std must be positive, got {tuple(self.std)}')
        if isinstance(self.fill, str):
            if self.fill not in ('mean', 'zero'):
                raise UserError(
                    f"regions.fill must be 'mean', 'zero' or an RGB colour, got '{self.fill}'"
                )
        else:
            _check_colour('fill', self.fill)

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None) -> RegionSettings:
        """Returns the settings that a config names.

        Args:
            config: fields by name, or None for the defaults.

        Raises:
            UserError: unknown field, or a value out of range.
        """
        return read_settings(cls, config, 'regions')

    @property
    def fill_colour(self) -> tuple[float, ...]:
        """RGB in [0, 255]."""
        named = {'mean': self.mean, 'zero': (0.0, 0.0, 0.0)}
        return tuple(named[self.fill] if isinstance(self.fill, str) else self.fill)


@dataclass(frozen=True)
class Crops:
    """N regions of an image, in the order of the valid masks.

    Attributes:
        images: (N, 3, S, S), normalised, float32.
        masks: (N, 1, S, S), float32, 0 or 1, or probabilities with matting.
        boxes: (N, 4) int64, where each was cut, (x1, y1, x2, y2) in pixels, ends exclusive.
        valid: (Q,) bool, masks that have a pixel above the threshold; N of them.
    """

    images: Tensor
    masks: Tensor
    boxes: Tensor
    valid: Tensor


def crop_regions(image: Tensor, masks: Tensor, settings: RegionSettings) -> Crops:
    """Cuts every valid mask out of an image.

    Masks without a pixel above the threshold give no region, and there is no other filter: a
    single pixel becomes a region, too.

    Args:
        image: (3, H, W) RGB in [0, 255], uint8 or float.
        masks: (Q, H, W), probabilities in [0, 1].
        settings: see :class:`RegionSettings`.

    Returns:
        The regions; none, with empty tensors, where no mask is valid.

    Raises:
        UserError: shapes that do not fit each other.

    Source: OVSeg (arXiv 2210.04150) section 3.1; normalised before the resize, which is torch's
    bicubic without antialiasing and without clamping; masks by nearest neighbour.
    """
    if image.ndim != 3 or image.shape[0] != 3 or masks.ndim != 3:
        raise UserError(
            'regions are cut from an image (3, H, W) by masks (Q, H, W), got '
            f'{tuple(image.shape)} and {tuple(masks.shape)}'
        )
    if image.shape[1:] != masks.shape[1:]:
        raise UserError(
            f'masks of {tuple(masks.shape[1:])} pixels do not fit an image of '
            f'{tuple(image.shape[1:])}; resize them first'
        )
    tight, valid = mask_boxes(masks, settings.threshold)
    boxes = expand_boxes(tight[valid], settings.expand_ratio, spatial_size(image))
    shape = (len(boxes), 4, settings.size, settings.size)
    regions = torch.empty(shape, device=image.device)
    shown = (masks[query] for query in valid.nonzero().flatten().tolist())
    crops = masked_crops(image, shown, boxes, settings)
    # A region at a time: beyond a crop its own edge repeats, so the resize is one of the crop
    # alone, and a formula for crops of all sizes at once was three times slower on a CPU.
    for region, (crop, mask) in zip(regions, crops, strict=True):
        region[:3] = F.interpolate(
            crop[None], size=settings.size, mode='bicubic', align_corners=False
        )[0]
        region[3:] = F.interpolate(mask[None, None], size=settings.size, mode='nearest')[0]
    return Crops(regions[:, :3], regions[:, 3:], boxes, valid)


def masked_crops(
    image: Tensor, masks: Iterable[Tensor], boxes: Tensor, settings: RegionSettings
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields what boxes show of masks, before it is resized.

    Args:
        image: (3, H, W) RGB in [0, 255].
        masks: N times (H, W), probabilities.
        boxes: (N, 4) int64, (x1, y1, x2, y2) in pixels, ends exclusive.
        settings: see :class:`RegionSettings`.

    Yields:
        The crop (3, h, w), normalised, and its mask (h, w), 0 or 1, or probabilities with matting.
    """
    mean, std, fill = (
        torch.tensor(colour, device=image.device).view(3, 1, 1)
        for colour in (settings.mean, settings.std, settings.fill_colour)
    )
    normalised, filling = (image.float() - mean) / std, (fill - mean) / std
    # The boxes leave the device in one transfer.
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.tolist(), strict=True):
        shown = mask[y1:y2, x1:x2]
        if not settings.matting:
            shown = shown > settings.threshold
        shown = shown.float()
        yield torch.lerp(filling, normalised[:, y1:y2, x1:x2], shown), shown


def mask_boxes(masks: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Tight boxes of thresholded masks, and which masks have any pixel.

    Args:
        masks: (Q, H, W).
        threshold: pixels above it count.

    Returns:
        (Q, 4) int64 boxes (x1, y1, x2, y2) in pixels, ends exclusive, without meaning for empty
        masks; (Q,) bool.

    Example:
        >>> mask_boxes(torch.tensor([[[0.0, 0.9, 0.9], [0.0, 0.9, 0.0]]]), 0.5)
        (tensor([[1, 0, 3, 2]]), tensor([True]))
    """
    columns = masks.amax(1) > threshold
    rows = masks.amax(2) > threshold
    ends = []
    for occupied in (columns, rows):
        flags = occupied.int()
        ends.append((flags.argmax(1), flags.shape[1] - flags.flip(1).argmax(1)))
    (x1, x2), (y1, y2) = ends
    return torch.stack([x1, y1, x2, y2], dim=1), columns.any(1)


def expand_boxes(boxes: Tensor, ratio: float, size: tuple[int, int]) -> Tensor:
    """Boxes enlarged about their centres and cut at the image's border.

    Args:
        boxes: (N, 4) int64, (x1, y1, x2, y2) in pixels.
        ratio: of the sides; the new ends are rounded towards zero.
        size: (height, width) of the image in pixels.

    Example:
        >>> expand_boxes(torch.tensor([[4, 0, 6, 1]]), 1.5, (5, 9))
        tensor([[3, 0, 6, 1]])
    """
    corners = boxes.float()  # in float32 and in this order: the rounding decides the pixel
    centres = 0.5 * (corners[:, :2] + corners[:, 2:])
    sides = (corners[:, 2:] - corners[:, :2]) * ratio
    ends = torch.cat([centres - 0.5 * sides, centres + 0.5 * sides], dim=1).long()
    height, width = size
    return ends.clamp(min=0).minimum(ends.new_tensor([width, height, width, height]))


def _check_colour(name: str, value: Sequence[float]) -> None:
    if len(value) != 3:
        raise UserError(f'regions.{name} must be three numbers (RGB), got {tuple(value)}')
