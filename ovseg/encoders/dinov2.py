"""DINOv2 as a companion of CLIP: its published files in timm's architectures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import timm
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from ovseg.downloads import fetch_url
from ovseg.encoders.dino import LoadedDINO, timm_vit
from ovseg.encoders.published import check_published
from ovseg.errors import UserError
from ovseg.weight_files import load_strictly, read_state_dict

_HOST = 'https://dl.fbaipublicfiles.com/dinov2'
# name of the published weights -> (timm architecture, address below _HOST)
PUBLISHED: dict[str, tuple[str, str]] = {
    f'dinov2_vit{letter}14{suffix}': (
        f'vit_{size}_patch14{registers}_dinov2',
        f'dinov2_vit{letter}14/dinov2_vit{letter}14{file}_pretrain.pth',
    )
    for letter, size in (('s', 'small'), ('b', 'base'), ('l', 'large'))
    for suffix, registers, file in (('', '', ''), ('_reg', '_reg4', '_reg4'))
}


def load_dinov2(model: str | Mapping[str, Any], pretrained: str | Path | None = None) -> LoadedDINO:
    """Returns a DINOv2 vision transformer with its weights.

    Args:
        model: a published name (``'dinov2_vitb14_reg'``), or the arguments of timm's
            ``VisionTransformer`` as a dict (``reg_tokens`` for registers).
        pretrained: None for the weights that belong to the name, a file in DINOv2's format, or
            ``'random'``, which must be asked for by that name.

    Raises:
        UserError: unknown name, weights that do not fit, or no network for the download.
        FileNotFoundError: there is no such file.
    """
    vit = build_dinov2(model)
    weights = 'random'
    if pretrained != 'random':
        if pretrained is None:
            if not isinstance(model, str):
                raise UserError(
                    "dinov2.pretrained must name a file, or 'random', for a dinov2.model of yours"
                )
            pretrained = fetch_url(f'{_HOST}/{PUBLISHED[model][1]}', 'companion.pretrained')
        load_strictly(vit, from_published(read_state_dict(pretrained)), pretrained)
        weights = Path(pretrained).name
    return LoadedDINO(
        vit.eval().requires_grad_(False),
        IMAGENET_DEFAULT_MEAN,
        IMAGENET_DEFAULT_STD,
        weights,
        # Models with registers came later, with another resize of the position embedding.
        'dino' if vit.reg_token is None else 'antialias',
    )


def build_dinov2(model: str | Mapping[str, Any]) -> VisionTransformer:
    """Returns a DINOv2 vision transformer with random weights.

    Args:
        model: see :func:`load_dinov2`.

    Raises:
        UserError: unknown name, or arguments that timm does not know.
    """
    if isinstance(model, str):
        check_published(model, PUBLISHED, 'dinov2.model')
        vit = timm.create_model(PUBLISHED[model][0], pretrained=False, num_classes=0)
        return cast('VisionTransformer', vit)  # what timm makes of these names
    settings = {'init_values': 1.0, **model}
    # timm adds no position to registers, so the class token has its own inside of it.
    settings['no_embed_class'] = bool(settings.get('reg_tokens'))
    return timm_vit(settings, 'dinov2.model')


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns timm's names for the tensors of a published file.

    The mask token, which only training reads, is left out. With registers, timm keeps no position
    embedding for the class token: it is added to that token.

    Args:
        state: tensors by their published names.
    """
    state = {name: value for name, value in state.items() if name != 'mask_token'}
    if 'register_tokens' in state:
        state['reg_token'] = state.pop('register_tokens')
        position = state['pos_embed']
        state['cls_token'] = state['cls_token'] + position[:, :1]
        state['pos_embed'] = position[:, 1:]
    return state
