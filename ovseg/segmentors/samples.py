"""What mmseg's samples say of images: paddings, flips, what was kept beside the inputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmseg.structures import SegDataSample
from torch import Tensor

from ovseg.errors import UserError
from ovseg.images import Images


def batches_of(
    inputs: Tensor, samples: Sequence[SegDataSample], reads: Collection[str]
) -> Iterator[Images]:
    """The images of a batch without their paddings: together if of one size, else one by one.

    Args:
        inputs: (B, 3, H, W), from the data preprocessor.
        samples: of the images.
        reads: what the segmentor looks at beside the inputs, see :class:`Images`.

    Raises:
        UserError: the data pipeline dropped what the segmentor reads.
    """
    images = [_unpadded(image, sample) for image, sample in zip(inputs, samples, strict=True)]
    originals = [_original(sample) for sample in samples] if 'originals' in reads else None
    names = None
    if 'paths' in reads:
        names = [sample.metainfo.get('img_path') for sample in samples]
    elif 'names' in reads:
        names = [_name(sample) for sample in samples]
    if len({tuple(image.shape) for image in images}) == 1:
        yield Images(torch.stack(images), originals, names)
        return
    for number, image in enumerate(images):
        one = slice(number, number + 1)
        yield Images(image[None], originals and originals[one], names and names[one])


def by_size(step: Callable[[Any], list[SegDataSample]], data: Any) -> list[SegDataSample]:
    """Predictions of a batch whose images may differ in size: those of one size go together.

    Args:
        step: predicts a batch of images of one size.
        data: ``inputs``, a list of images (3, H, W), and other lists with an entry an image.
    """
    inputs = data.get('inputs') if isinstance(data, Mapping) else None
    if not isinstance(inputs, (list, tuple)):
        return step(data)
    groups: dict[tuple[int, ...], list[int]] = {}
    for position, image in enumerate(inputs):
        groups.setdefault(tuple(image.shape), []).append(position)
    if len(groups) < 2:
        return step(data)
    found: dict[int, SegDataSample] = {}
    for positions in groups.values():
        part = {key: _chosen(value, positions, len(inputs)) for key, value in data.items()}
        found.update(zip(positions, step(part), strict=True))
    return [found[position] for position in range(len(inputs))]


def _chosen(value: Any, positions: Sequence[int], count: int) -> Any:
    is_row = isinstance(value, (list, tuple)) and len(value) == count
    return [value[position] for position in positions] if is_row else value


def flipped_axes(sample: SegDataSample) -> list[int]:
    """Axes of an (H, W) map along which the network's input was mirrored."""
    if not sample.metainfo.get('flip', False):
        return []
    direction = sample.metainfo.get('flip_direction') or 'horizontal'
    return {'vertical': [0], 'horizontal': [1], 'diagonal': [0, 1]}[direction]


def stuff_asked_for(sample: SegDataSample) -> frozenset[int] | None:
    """The classes that are no things where a sample asks for segments; None: it asks for labels.

    Raises:
        UserError: the network's input was mirrored, whose segments nobody averages.
    """
    labels = sample.metainfo.get('stuff_labels')
    if labels is None:
        return None
    if flipped_axes(sample):
        raise UserError('segments of mirrored images are not merged; test without --tta')
    return frozenset(labels)


def _original(sample: SegDataSample) -> np.ndarray:
    """The image at its own size, mirrored as the network's input was."""
    if 'original_image' not in sample:
        raise UserError(
            'this model also reads images at their own size, which the data pipeline did not keep; '
            'set keep_original=True in the data set of the config'
        )
    image = np.flip(sample.original_image, flipped_axes(sample))
    return np.ascontiguousarray(image)


def _name(sample: SegDataSample) -> str | None:
    """Path of the image."""
    if flipped_axes(sample):
        raise UserError(
            'this model looks up files by the name of the image, which do not fit a mirrored one; '
            'run without test-time augmentation'
        )
    return sample.metainfo.get('img_path')


def _unpadded(image: Tensor, sample: SegDataSample) -> Tensor:
    left, right, top, bottom = sample.metainfo.get('img_padding_size', (0, 0, 0, 0))
    height, width = image.shape[-2:]
    return image[..., top : height - bottom, left : width - right]
