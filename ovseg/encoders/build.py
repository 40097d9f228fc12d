"""Which dense encoder fits a vision tower."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from open_clip.modified_resnet import ModifiedResNet
from torch import nn

from ovseg.encoders.clip_conv import CLIPConvEncoder, is_convolutional
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
        settings: arguments of :class:`CLIPViTEncoder`, :class:`CLIPResNetEncoder` or
            :class:`~ovseg.encoders.clip_conv.CLIPConvEncoder`, or of the registered encoder that
            ``type`` names, which is built around the tower.

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
        if is_convolutional(visual):
            _refuse_settings(visual, settings)
            return CLIPConvEncoder(visual)
    except TypeError as error:
        raise UserError(f'encoder: {error}') from error
    raise UserError(
        f'{type(visual).__name__} has no dense encoder; use a model with a vision transformer of '
        "open_clip's or timm's (plain or EVA), a CLIP ResNet, a FastViT or a ConvNeXt"
    )


def _refuse_settings(visual: nn.Module, settings: dict[str, Any]) -> None:
    """A convolutional tower has no last block to replace, and nothing else to choose."""
    if settings:
        raise UserError(
            f'encoder.{next(iter(settings))} is of CLIPs that end in a transformer block, and a '
            f'{type(visual.trunk).__name__} has none: remove {", ".join(settings)} from the '
            'encoder (_delete_=True), or choose a CLIP with a vision transformer'
        )
