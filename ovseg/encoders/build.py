"""Which dense encoder fits a vision tower."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import VisionTransformer
from torch import nn

from ovseg.encoders.clip_resnet import CLIPResNetEncoder
from ovseg.encoders.clip_vit import CLIPViTEncoder
from ovseg.encoders.dense import DenseEncoder
from ovseg.errors import UserError
from ovseg.registry import MODELS

_ENCODERS: dict[type[nn.Module], Callable[..., DenseEncoder]] = {
    VisionTransformer: CLIPViTEncoder,
    ModifiedResNet: CLIPResNetEncoder,
}


def build_dense_encoder(visual: nn.Module, **settings: Any) -> DenseEncoder:
    """Returns the dense encoder that fits a CLIP vision tower.

    Args:
        visual: ``clip.model.visual`` of a :class:`LoadedCLIP`.
        settings: arguments of :class:`CLIPViTEncoder` or :class:`CLIPResNetEncoder`, or of the
            registered encoder that ``type`` names, which is built around the tower.

    Raises:
        UserError: no encoder for this kind of tower, or a setting that it does not have.
    """
    name = settings.pop('type', None)
    encoder = _ENCODERS.get(type(visual))
    try:
        if name is not None:  # whatever the tower: a registered encoder knows what it takes
            return MODELS.build({'type': name, '_scope_': 'ovseg', 'visual': visual, **settings})
        if encoder is not None:
            return encoder(visual, **settings)
    except TypeError as error:
        raise UserError(f'encoder: {error}') from error
    raise UserError(
        f'{type(visual).__name__} has no dense encoder (SigLIP and other timm towers pool '
        'their patches by attention or have other blocks, so a patch has no place in the text '
        f'space); use a CLIP model with a {" or ".join(kind.__name__ for kind in _ENCODERS)}'
    )
