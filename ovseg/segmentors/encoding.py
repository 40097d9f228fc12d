"""Taking images through a dense encoder, whole or in windows, in batches."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ovseg.backbones import DenseEncoder, DenseFeatures
from ovseg.backbones.dense import NO_MARGINS, Margins
from ovseg.segmentors.inference import InferenceSettings
from ovseg.segmentors.windows import Box, cut_windows, window_boxes


@dataclass(frozen=True)
class ImageEncoding:
    """One image after the encoder: all that any vocabulary needs to be asked about it.

    Attributes:
        features: of its windows, batch dimension = windows.
        boxes: where each window lies in the input, (y1, x1, y2, x2), end exclusive.
        input_size: (height, width) of the network's input in pixels.
        margins: how far each window's map reaches beyond its box, see ``DenseEncoder.margins``.
        image: (3, H, W), the network's input; only where a pixel refiner will read it.
    """

    features: DenseFeatures
    boxes: list[Box]
    input_size: tuple[int, int]
    margins: Margins = NO_MARGINS
    image: Tensor | None = None


def encode_images(
    encoder: DenseEncoder,
    inputs: Tensor,
    settings: InferenceSettings,
    outputs: frozenset[str] = frozenset(),
    keep_image: bool = False,
) -> list[ImageEncoding]:
    """Encodes images of one size; their windows go through the encoder in common batches.

    Args:
        encoder: gives the features.
        inputs: (B, 3, H, W), normalised.
        settings: whole or windows, and how many at once.
        outputs: optional fields of :class:`DenseFeatures` to fill.
        keep_image: the encodings hold their input, too.

    Returns:
        One encoding an image.
    """
    size = (inputs.shape[-2], inputs.shape[-1])
    if settings.mode == 'slide':
        boxes = window_boxes(size, settings.crop_size, settings.stride)
        windows = cut_windows(inputs, boxes)
    else:
        boxes, windows = [(0, 0, *size)], inputs
    features = _concatenate(
        [encoder(batch, outputs) for batch in windows.split(settings.window_batch)]
    )
    count = len(boxes)
    margins = encoder.margins(tuple(windows.shape[-2:]))
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


def _concatenate(parts: list[DenseFeatures]) -> DenseFeatures:
    if len(parts) == 1:
        return parts[0]
    joined = {
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
