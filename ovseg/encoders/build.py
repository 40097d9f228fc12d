"""Which dense encoder fits a vision tower."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from open_clip.modified_resnet import ModifiedResNet
from torch import nn

from ovseg.encoders.clip_resnet import CLIPResNetEncoder
from ovseg.encoders.clip_vit import CLIPViTEncoder
from ovseg.encoders.dense import DenseEncoder
from ovseg.encoders.towers import has_tower
from ovseg.errors import UserError
from ovseg.registry import MODELS


def build_dense_encoder(
    visual: nn.Module,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    **settings: Any,
) -> DenseEncoder:
    """Returns the dense encoder that fits a vision tower.

    Args:
        visual: of a vision-language model, such as ``clip.model.visual`` of a
            :class:`LoadedCLIP`.
        mean: pixel mean that images will be normalised with, RGB in [0, 1]; None for the encoder's
            default.
        std: pixel standard deviation, likewise.
        settings: arguments of :class:`CLIPViTEncoder` or :class:`CLIPResNetEncoder`, or of the
            registered encoder that ``type`` names, which is built around the tower.

    Raises:
        UserError: no encoder for this kind of tower, or a setting that it does not have.
    """
    name = settings.pop('type', None)
    if has_tower(visual) and mean is not None and std is not None:
        # The encoder pads with black pixels as they look after normalisation; a companion looks at
        # pixels with statistics of its own.
        settings = {'mean': list(mean), 'std': list(std), **settings}
    try:
        if name is not None:  # whatever the tower: a registered encoder knows what it takes
            return MODELS.build({'type': name, '_scope_': 'ovseg', 'visual': visual, **settings})
        if has_tower(visual):
            return CLIPViTEncoder(visual, **settings)
        if isinstance(visual, ModifiedResNet):
            return CLIPResNetEncoder(visual, **settings)
    except TypeError as error:
        raise UserError(f'encoder: {error}') from error
    raise UserError(
        f'{type(visual).__name__} has no dense encoder; use a model with a vision transformer of '
        "open_clip's or timm's (plain or EVA), or a CLIP ResNet"
    )
