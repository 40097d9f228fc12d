"""Crops of a training, and what smaller pictures are padded to: unequal ones make no batch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ovseg.engine.config_parts import parts_of_type

_UNEQUAL = re.compile(r'stack expects each tensor to be equal size, but got (\[.*?\]) .*?(\[.*?\])')
_NO_RULE = 'only one of size and size_divisor should be valid'


def padding_notes(config: Mapping[str, Any]) -> list[str]:
    """A sentence if pictures smaller than the crops are not padded to them, which mmseg takes.

    Args:
        config: of a training; as complete as it is.
    """
    loader = config.get('train_dataloader') or {}
    size = _pair(_preprocessor(config).get('size'))
    if size is None or loader.get('batch_size', 1) == 1:
        return []
    crops = [_pair(step.get('crop_size')) for step in parts_of_type(loader, 'RandomCrop')]
    larger = [
        crop for crop in crops if crop is not None and (crop[0] > size[0] or crop[1] > size[1])
    ]
    if not larger:
        return []
    crop = larger[0]
    return [
        f'crops have {crop[0]} x {crop[1]} pixels (RandomCrop.crop_size), but pictures that are '
        f'smaller are padded to {size[0]} x {size[1]} (model.data_preprocessor.size), so two of '
        f'different sizes make no batch: set model.data_preprocessor.size={crop}'
    ]


def batch_explained(message: str, config: Mapping[str, Any]) -> str | None:
    """What to say where pictures could not be put into one batch; None: the trouble is another.

    Args:
        message: of the error.
        config: of the training.
    """
    if _NO_RULE in message:
        given = {key: _preprocessor(config).get(key) for key in ('size', 'size_divisor')}
        return (
            f'model.data_preprocessor has size={given["size"]} and '
            f'size_divisor={given["size_divisor"]}: training pads its pictures by one of the two, '
            'so set size to the crops of the training, and size_divisor to None'
        )
    unequal = _UNEQUAL.search(message)
    if unequal is None:
        return None
    why = padding_notes(config) or [
        'set model.data_preprocessor.size to the size of the crops, or give pictures of one size'
    ]
    return f'pictures of sizes {unequal[1]} and {unequal[2]} make no batch: {why[0]}'


def _preprocessor(config: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = (config.get('model') or {}).get('data_preprocessor')
    return inner or config.get('data_preprocessor') or {}


def _pair(size: Any) -> tuple[int, int] | None:
    """(height, width) of a setting that may be one number for both."""
    if isinstance(size, int):
        return size, size
    is_pair = isinstance(size, (tuple, list)) and len(size) == 2
    return (int(size[0]), int(size[1])) if is_pair else None
