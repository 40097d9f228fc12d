"""An image after a model's encoder: kept, copied, sent elsewhere and asked again."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from ovseg.errors import UserError
from ovseg.nested_tensors import map_tensors
from ovseg.segmentors.base import Segmentor
from ovseg.text.fingerprint import version_of, weights_written

# Settings of a model on which no feature depends: words, where weights come from, memory.
_NOT_FEATURES = {
    *('vocabulary', 'text', 'templates', 'teacher', 'train_cfg', 'init_cfg'),
    *('pretrained', 'weights', 'adapted', 'cache_dir', 'maskclip_files'),
    *('window_batch', 'strip_megabytes', 'save_logits', 'block_megabytes', 'batch_megabytes'),
}
# Weights on which none depends: a text tower may be in its file, and rows know which it is.
_NO_FEATURES = re.compile(r'teacher\.|(auxiliary_)?clip\.(?!visual\.|logit_)')
_KNOWN: WeakKeyDictionary[Segmentor, tuple[Any, str]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """An image after the model's encoder: ask it about as many words as you like.

    A pickle of it holds the features and not the model. Read again, it serves every model of the
    same settings and weights, in another process and on another device, too.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        encoding: the model's features; plain tensors without gradients.
        source: what the image is called.
        model: the segmentor that made the features; None after a pickle was read.
        identity: of the model, after a pickle was read; see :func:`identity_of`.
        written: mark of the model's weights when it made the features.
    """

    image: np.ndarray
    encoding: Any
    source: str
    model: Segmentor | None
    identity: str = ''
    written: tuple[tuple[int, int], ...] | None = None

    def __post_init__(self) -> None:
        if self.model is not None and self.written is None:
            object.__setattr__(self, 'written', weights_written(self.model))

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f'EncodedImage({self.source or "image"}, {height} x {width})'

    def check_pixel(self, row: int, column: int) -> None:
        """Stops at a place outside of the upright image.

        Args:
            row: of the pixel.
            column: likewise.

        Raises:
            UserError: there is no such pixel.
        """
        height, width = self.image.shape[:2]
        if not (0 <= row < height and 0 <= column < width):
            raise UserError(
                f'There is no pixel at row {row}, column {column}: the image has {height} rows '
                f'and {width} columns.'
            )

    def of_model(self, model: Segmentor, name: str) -> EncodedImage:
        """The same, its features on the device of a model that is to read them.

        Args:
            model: the model.
            name: what it is called.

        Raises:
            UserError: another model made the features.
        """
        if self.model is model and self._has_its_weights(model):
            return self
        if self._made_by() != identity_of(model):
            raise UserError(
                f'{self} was encoded by another model than {name}, or with other weights, '
                'settings or precision: encode it with this one.'
            )
        encoding = map_tensors(self.encoding, lambda value: value.to(model.device))
        return replace(self, encoding=encoding, model=model, written=None)

    def _has_its_weights(self, model: Segmentor) -> bool:
        """Whether the model still has the weights that made the features."""
        return self.written == weights_written(model)

    def _made_by(self) -> str:
        if self.model is None:
            return self.identity
        return identity_of(self.model) if self._has_its_weights(self.model) else 'weights of before'

    def __getstate__(self) -> dict[str, Any]:
        # Cloned: a slice of a batch would bring the whole batch along.
        encoding = map_tensors(self.encoding, lambda value: value.detach().cpu().clone())
        known = {'model': None, 'identity': self._made_by(), 'written': None}
        return {**vars(self), 'encoding': encoding, **known}

    def __copy__(self) -> EncodedImage:
        return replace(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> EncodedImage:
        image, encoding = copy.deepcopy((self.image, self.encoding), memo)
        return replace(self, image=image, encoding=encoding)


def identity_of(model: Segmentor) -> str:
    """What two models share whose features are the same: settings and weights, as one hash.

    Words and what is left to memory and devices do not count.

    Args:
        model: built from a config by :func:`~ovseg.apis.building.build_model`.
    """
    weights = [*model.named_parameters(), *model.named_buffers()]
    weights = [(name, value) for name, value in weights if not _NO_FEATURES.match(name)]
    stamp = tuple((value.data_ptr(), version_of(value), value.dtype) for _, value in weights)
    known = _KNOWN.get(model)
    if known is not None and known[0] == stamp:
        return known[1]
    digest = blake2b(digest_size=16)
    digest.update(f'{type(model).__qualname__}:{getattr(model, "built_from", "")}'.encode())
    for name, value in sorted(weights, key=lambda item: item[0]):
        digest.update(f'{name}:{tuple(value.shape)}:{value.dtype}'.encode())
        plain = value.detach().cpu().contiguous().reshape(-1)
        digest.update(plain.view(torch.uint8).numpy().data)
    _KNOWN[model] = stamp, digest.hexdigest()
    return digest.hexdigest()


def settings_of_features(settings: Any) -> str:
    """The settings of a model on which its features depend, as text.

    Args:
        settings: of the model, as the config has them.
    """
    return json.dumps(_of_features(settings), sort_keys=True, default=repr)


def _of_features(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {key: part for key, part in value.items() if key not in _NOT_FEATURES}
        return {str(key): _of_features(part) for key, part in kept.items()}
    if isinstance(value, (list, tuple)):
        return [_of_features(part) for part in value]
    return value
