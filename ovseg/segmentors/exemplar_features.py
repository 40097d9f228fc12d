"""What a training-free segmentor's features say of labelled images, and whose features they are."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.exemplars.bank import SAMPLES, EncoderIdentity
from ovseg.exemplars.pooling import IGNORED, Pooled, WindowGrid, pool_labels
from ovseg.precision import precision_of
from ovseg.scores.encoding import ImageEncoding
from ovseg.sizes import spatial_size
from ovseg.text.fingerprint import weights_written

# Facts of a model's protocol on which its features do not depend, beside those of the words.
_NOT_FEATURES = {
    *('weights', 'refiners', 'logit_scale', 'pixel_refiner', 'refinement', 'denoise_below'),
}


class FeatureIdentity:
    """Who makes a model's features, as banks write it down; hashed once for the same weights.

    Args:
        model: a training-free segmentor.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model: Any = model
        self._known: tuple[Any, EncoderIdentity] | None = None

    def __call__(self) -> EncoderIdentity:
        """The identity with the present weights and settings."""
        model = self._model
        facts = {key: str(value) for key, value in model.protocol().items() if value is not None}
        of_words = {*model.text.protocol('', None), 'examples', 'rule'}
        others = _NOT_FEATURES | of_words
        facts = {key: value for key, value in facts.items() if key not in others}
        stamp = (weights_written(model), tuple(facts.items()), model.text.space)
        if self._known is None or self._known[0] != stamp:
            self._known = stamp, self._made(model, facts)
        return self._known[1]

    @staticmethod
    def _made(model: Any, facts: dict[str, str]) -> EncoderIdentity:
        digest = blake2b(digest_size=16)
        digest.update(json.dumps([facts, model.text.space], sort_keys=True).encode())
        for name, value in sorted(_image_weights(model)):
            digest.update(f'{name}:{tuple(value.shape)}:{value.dtype}'.encode())
            plain = value.detach().cpu().contiguous().reshape(-1)
            digest.update(plain.view(torch.uint8).numpy().data)
        windows = facts.get('mode', 'whole')
        if facts.get('window'):
            windows += f' of {facts["window"]}, stride {facts.get("stride")}'
        last_block = getattr(model.encoder, 'last_block', None)
        attention = getattr(last_block, 'attention', None)
        method = f'{type(model).__name__} with {type(model.encoder).__name__}'
        parts = [facts.get('model', ''), method, windows]
        parts += [f'attention {attention}'] if isinstance(attention, str) else []
        parts += [f'guide {type(model.guide).__name__}'] if model.guide is not None else []
        # Of other digits are the features, too, so that banks of both are told apart.
        return EncoderIdentity(digest.hexdigest(), ', '.join([*parts, precision_of(model)]))


def _image_weights(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Named parameters on the way of an image; those of the text tower have a hash of their own."""
    named = dict(model.named_parameters())
    visual = [name for name in named if name.startswith('clip.visual.')]
    if visual:
        named = {
            name: value
            for name, value in named.items()
            if not name.startswith('clip.') or name.startswith('clip.visual.')
        }
    return list(named.items())


def pool_encoding(encoding: ImageEncoding, labels: Tensor) -> Pooled:
    """Vectors of the classes in an encoded image.

    Args:
        encoding: of a training-free segmentor.
        labels: (H, W) int64 at the image's own size; 255 counts nowhere.
    """
    patch = encoding.features.patch
    grid = WindowGrid(encoding.boxes, spatial_size(patch), encoding.margins)
    resized = F.interpolate(
        labels[None, None].double(), size=encoding.input_size, mode='nearest-exact'
    )[0, 0]
    return pool_labels(patch.float().cpu(), resized.long().cpu(), grid, SAMPLES)


def patch_radius(encoding: ImageEncoding, image_size: tuple[int, int]) -> int:
    """Pixels of the image from the middle of a patch to its corner, at least 2.

    Args:
        encoding: of the image.
        image_size: (H, W) of the image.
    """
    y1, x1, y2, x2 = encoding.boxes[0]
    cells = spatial_size(encoding.features.patch)
    sides = [
        (end - start) / count * own / seen
        for start, end, count, own, seen in zip(
            (y1, x1), (y2, x2), cells, image_size, encoding.input_size, strict=True
        )
    ]
    return max(2, round(0.71 * max(sides)))


def labels_of_mask(mask: Tensor) -> Tensor:
    """Label 0 where a mask (H, W) bool is true, 255 elsewhere."""
    return torch.where(mask, 0, IGNORED)
