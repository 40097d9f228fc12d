"""Taking images through a dense encoder and its guide: whole, in windows, or spliced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from ovseg.encoders import DenseEncoder, DenseFeatures
from ovseg.encoders.dense import NO_MARGINS, Margins
from ovseg.errors import UserError
from ovseg.images.windows import Box, cut_windows, window_boxes
from ovseg.scores.inference_settings import InferenceSettings
from ovseg.scores.row_map import WindowMaps
from ovseg.scores.splicing import splice_cell, splice_features
from ovseg.sizes import spatial_size

# (features, what the encoder saw) -> features
Guiding = Callable[[DenseFeatures, Tensor], DenseFeatures]


@dataclass(frozen=True)
class ImageEncoding:
    """One image after the encoder: all that any vocabulary needs to be asked about it.

    Attributes:
        features: of its windows, batch dimension = windows.
        boxes: where each window lies in the input, (y1, x1, y2, x2), end exclusive.
        input_size: (height, width) of the network's input in pixels.
        margins: how far each window's map reaches beyond its box, see ``DenseEncoder.margins``.
        image: (3, H, W), the network's input; only where a pixel refiner will read it.
        text_space: fingerprint of the text model in whose space the features are; ``''`` where
            they are in none, or in one of the model's own.
    """

    features: DenseFeatures
    boxes: list[Box]
    input_size: tuple[int, int]
    margins: Margins = NO_MARGINS
    image: Tensor | None = None
    text_space: str = ''

    @property
    def is_finite(self) -> bool:
        """Whether the features are numbers."""
        # A sum is quicker; that of large numbers may be infinite, too.
        patch = self.features.patch
        return bool(patch.sum().isfinite()) or bool(patch.isfinite().all())


def encode_images(
    encoder: DenseEncoder,
    inputs: Tensor,
    settings: InferenceSettings,
    outputs: frozenset[str] = frozenset(),
    guiding: Guiding | None = None,
    keep_image: bool = False,
) -> list[ImageEncoding]:
    """Encodes images of one size; their windows go through the encoder in common batches.

    Args:
        encoder: gives the features.
        inputs: (B, 3, H, W), normalised.
        settings: whole, windows or spliced windows, and how many at once.
        outputs: optional fields of :class:`DenseFeatures` to fill.
        guiding: what a guide makes of the features: window by window, or, with spliced windows, of
            the joint map and the whole image.
        keep_image: the encodings hold their input, too.

    Returns:
        One encoding an image.

    Raises:
        UserError: spliced windows that do not lie on the patch grid.
    """
    size = (inputs.shape[-2], inputs.shape[-1])
    if settings.mode == 'splice':
        joint = _splice(lambda batch: encoder(batch, outputs), encoder, inputs, settings)
        if guiding is not None:
            joint = [guiding(part, inputs[i : i + 1]) for i, part in enumerate(joint)]
        kept = inputs if keep_image else [None] * len(joint)
        return [
            ImageEncoding(part, [(0, 0, *size)], size, NO_MARGINS, image)
            for part, image in zip(joint, kept, strict=True)
        ]

    def compute(batch: Tensor, first: int) -> DenseFeatures:
        part = encoder(batch, outputs)
        return part if guiding is None else guiding(part, batch)

    return encode_windows(compute, encoder, inputs, settings, keep_image)


def encode_windows(
    compute: Callable[[Tensor, int], DenseFeatures],
    encoder: DenseEncoder,
    inputs: Tensor,
    settings: InferenceSettings,
    keep_image: bool = False,
) -> list[ImageEncoding]:
    """Encodes images of one size, whole or in windows, ``window_batch`` of them at a time.

    Args:
        compute: (windows, number of the first one) -> features. Window i of image j has the number
            ``j * len(image_boxes(...)) + i``.
        encoder: says how far its map reaches beyond a window.
        inputs: (B, 3, H, W), normalised.
        settings: whole or windows, and how many at once.
        keep_image: the encodings hold their input, too.

    Returns:
        One encoding an image.
    """
    size = (inputs.shape[-2], inputs.shape[-1])
    boxes = image_boxes(size, settings)
    windows = cut_windows(inputs, boxes)
    parts, first = [], 0
    for batch in windows.split(settings.window_batch):
        parts.append(compute(batch, first))
        first += len(batch)
    features = _concatenate(parts)
    count = len(boxes)
    margins = encoder.margins(spatial_size(windows))
    return [
        ImageEncoding(
            _slice(features, i * count, (i + 1) * count),
            boxes,
            size,
            margins,
            image if keep_image else None,
        )
        for i, image in enumerate(inputs)
    ]


def image_boxes(size: tuple[int, int], settings: InferenceSettings) -> list[Box]:
    """Boxes (y1, x1, y2, x2) of the windows of an image, or the one of the whole image.

    Args:
        size: (height, width) of the network's input in pixels.
        settings: whole or windows.
    """
    if settings.mode == 'slide':
        return window_boxes(size, *settings.windowing)
    return [(0, 0, *size)]


def map_images(
    compute: Callable[[Tensor], Tensor],
    encoder: DenseEncoder,
    inputs: Tensor,
    settings: InferenceSettings,
) -> Tensor:
    """One map of each image as ``encode_images`` would make it, whole or spliced.

    Args:
        compute: (b, 3, H, W) -> (b, C, h, w), a part of what the encoder computes.
        encoder: whose part it is.
        inputs: (B, 3, H, W), normalised; without splicing, crops as large as a window.
        settings: as in :func:`encode_images`.

    Returns:
        (B, C, h, w).
    """
    if settings.mode != 'splice':
        return compute(inputs)
    joint = _splice(lambda batch: DenseFeatures(compute(batch)), encoder, inputs, settings)
    return torch.cat([part.patch for part in joint])


def _splice(
    compute: Callable[[Tensor], DenseFeatures],
    encoder: DenseEncoder,
    inputs: Tensor,
    settings: InferenceSettings,
) -> list[DenseFeatures]:
    """The joint features of each image; ``compute`` makes those of a batch of windows."""
    inputs, boxes, cell = _spliced_windows(encoder, inputs, settings)
    windows = cut_windows(inputs, boxes).split(settings.window_batch)
    features = _concatenate([compute(batch) for batch in windows])
    count, size = len(boxes), spatial_size(inputs)
    return [
        splice_features(_slice(features, i * count, (i + 1) * count), boxes, size, cell)
        for i in range(len(inputs))
    ]


def _spliced_windows(
    encoder: DenseEncoder, inputs: Tensor, settings: InferenceSettings
) -> tuple[Tensor, list[Box], tuple[int, int]]:
    """Images padded to whole patches, their windows, and the cell of the joint map."""
    if not encoder.has_patch_grid:
        raise UserError(
            "test_cfg.mode='splice' needs an encoder on a patch grid (a ViT), "
            f'not {type(encoder).__name__}'
        )
    if encoder.margins(spatial_size(inputs)) != NO_MARGINS:
        raise UserError(
            "test_cfg.mode='splice' does not go with encoder.padding='centred', whose map reaches "
            'beyond the image; choose another padding'
        )
    patch = encoder.stride
    crop_size, stride = settings.windowing
    if any(crop % side for crop, side in zip(crop_size, patch, strict=True)):
        raise UserError(
            f'test_cfg.crop_size {crop_size} must be multiples of the patch {patch} with '
            "mode='splice'"
        )
    inputs = encoder.pad(inputs)
    boxes = window_boxes(spatial_size(inputs), crop_size, stride)
    return inputs, boxes, splice_cell(patch, stride)


def _concatenate(parts: list[DenseFeatures]) -> DenseFeatures:
    if len(parts) == 1:
        return parts[0]
    joined: dict[str, Any] = {
        name: torch.cat([getattr(part, name) for part in parts]) for name in _filled(parts[0])
    }
    return DenseFeatures(**joined)


def _slice(features: DenseFeatures, start: int, stop: int) -> DenseFeatures:
    return DenseFeatures(
        **{name: getattr(features, name)[start:stop] for name in _filled(features)}
    )


def _filled(features: DenseFeatures) -> list[str]:
    return [
        field.name
        for field in fields(DenseFeatures)
        if isinstance(getattr(features, field.name), Tensor)
    ]


def window_maps(
    encoding: ImageEncoding, scores: Tensor, size: tuple[int, int], upsampling: str
) -> WindowMaps:
    """Score maps of an encoding as they are upsampled.

    Args:
        encoding: whose windows they belong to.
        scores: (windows, P, h, w).
        size: (H, W) of the labels in pixels.
        upsampling: see :class:`InferenceSettings`; ``'direct'`` gives maps of `size`, otherwise
            they have the size of the network's input.
    """
    if upsampling == 'direct':
        return WindowMaps(scores, [(0, 0, *size)], size, encoding.margins)
    return WindowMaps(scores, encoding.boxes, encoding.input_size, encoding.margins)
