"""DINOv3 as a companion of CLIP: its published files in timm's ``Eva``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers.pos_embed_sincos import RotaryEmbeddingDinoV3
from timm.models.eva import Eva
from torch import Tensor, nn

from ovseg.encoders.dino import DINOEncoder, LoadedDINO
from ovseg.encoders.hub_weights import find_hub_weights
from ovseg.encoders.published import check_published
from ovseg.errors import UserError
from ovseg.weight_files import load_strictly, read_state_dict, rename

_KEY = 'companion.pretrained'


@dataclass(frozen=True)
class _Published:
    """An architecture and where its weights are.

    Attributes:
        repository: on the hub; all are gated.
        size: width, blocks, heads.
        gated_mlp: SwiGLU instead of a plain MLP.
    """

    repository: str
    size: tuple[int, int, int]
    gated_mlp: bool = False


def _lvd(name: str) -> str:
    return f'facebook/dinov3-{name}-pretrain-lvd1689m'


# By the names of facebookresearch/dinov3. Licence of all: DINOv3's own, accepted by name.
PUBLISHED: dict[str, _Published] = {
    'dinov3_vits16': _Published(_lvd('vits16'), (384, 12, 6)),
    'dinov3_vits16plus': _Published(_lvd('vits16plus'), (384, 12, 6), gated_mlp=True),
    'dinov3_vitb16': _Published(_lvd('vitb16'), (768, 12, 12)),
    'dinov3_vitl16': _Published(_lvd('vitl16'), (1024, 24, 16)),
    'dinov3_vith16plus': _Published(_lvd('vith16plus'), (1280, 32, 20), gated_mlp=True),
}
_DEFAULTS: dict[str, Any] = {
    **{'patch_size': 16, 'num_reg_tokens': 4, 'init_values': 1.0, 'qkv_bias': True},
    **{'rope_type': 'dinov3', 'rope_temperature': 100, 'rope_rotate_half': True},
    **{'use_rot_pos_emb': True, 'use_abs_pos_emb': False, 'dynamic_img_size': True},
    **{'use_fc_norm': False, 'norm_layer': partial(nn.LayerNorm, eps=1e-5), 'num_classes': 0},
}
# Names of the original files, and of those on the hub for transformers, in timm's ``Eva``. A name
# that is in no table stays as it is, and is refused as unexpected.
_ORIGINAL = (
    ('storage_tokens', 'reg_token'),
    ('blocks.{}.ls1.gamma', 'blocks.{}.gamma_1'),
    ('blocks.{}.ls2.gamma', 'blocks.{}.gamma_2'),
    ('blocks.{}.mlp.w1.*', 'blocks.{}.mlp.fc1_g.*'),
    ('blocks.{}.mlp.w2.*', 'blocks.{}.mlp.fc1_x.*'),
    ('blocks.{}.mlp.w3.*', 'blocks.{}.mlp.fc2.*'),
    ('rope_embed.periods', 'periods'),
)
_TRANSFORMERS = (
    ('embeddings.cls_token', 'cls_token'),
    ('embeddings.mask_token', 'mask_token'),
    ('embeddings.register_tokens', 'reg_token'),
    ('embeddings.patch_embeddings.*', 'patch_embed.proj.*'),
    ('layer.{}.layer_scale1.lambda1', 'blocks.{}.gamma_1'),
    ('layer.{}.layer_scale2.lambda1', 'blocks.{}.gamma_2'),
    ('layer.{}.attention.o_proj.*', 'blocks.{}.attn.proj.*'),
    ('layer.{}.attention.*', 'blocks.{}.attn.*'),
    ('layer.{}.mlp.gate_proj.*', 'blocks.{}.mlp.fc1_g.*'),
    ('layer.{}.mlp.up_proj.*', 'blocks.{}.mlp.fc1.*'),
    ('layer.{}.mlp.down_proj.*', 'blocks.{}.mlp.fc2.*'),
    ('layer.{}.*', 'blocks.{}.*'),
)


def load_dinov3(model: str | Mapping[str, Any], pretrained: str | Path | None = None) -> LoadedDINO:
    """Returns a DINOv3 vision transformer with its weights.

    Args:
        model: a name (``'dinov3_vitb16'``), or the arguments of timm's ``Eva`` as a dict, those of
            DINOv3 being the defaults (``num_reg_tokens`` 4).
        pretrained: None for the weights that belong to the name, from the hub, where their licence
            must have been accepted; a file in the original format, in that of transformers or in
            timm's (``vit_*_patch16_dinov3``, with or without ``_qkvb``); a folder with such a
            ``model.safetensors``; a repository of the hub (``'hf-hub:timm/...'``); or ``'random'``.

    Raises:
        UserError: unknown name, weights of another model, tensors that have no place in this one,
            a repository that is not open to this user, or no network for the download.
        FileNotFoundError: there is no such file.
    """
    vit, weights = build_dinov3(model), 'random'
    if pretrained != 'random':
        if pretrained is None:
            if not isinstance(model, str):
                raise UserError(
                    "dinov3.pretrained must name a file, or 'random', for a dinov3.model of yours"
                )
            pretrained = f'hf-hub:{PUBLISHED[model].repository}'
        weights = Path(pretrained).name
        fill_dinov3(vit, read_state_dict(find_hub_weights(pretrained, _KEY)), pretrained)
    vit = vit.eval().requires_grad_(False)
    return LoadedDINO(vit, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, weights)


def build_dinov3(model: str | Mapping[str, Any]) -> Eva:
    """Returns a DINOv3 vision transformer with random weights.

    Args:
        model: see :func:`load_dinov3`.

    Raises:
        UserError: unknown name, or arguments that timm does not know.
    """
    if isinstance(model, str):
        check_published(model, PUBLISHED, 'dinov3.model')
        row = PUBLISHED[model]
        width, depth, heads = row.size
        model = {'embed_dim': width, 'depth': depth, 'num_heads': heads}
        if row.gated_mlp:
            model = {**model, 'swiglu_mlp': True, 'swiglu_align_to': 8}
    try:
        return Eva(**{**_DEFAULTS, **model})
    except (TypeError, AssertionError) as error:
        raise UserError(f"dinov3.model does not fit timm's Eva: {error}") from error


def fill_dinov3(vit: Eva, state: Mapping[str, Tensor], origin: object) -> None:
    """Loads tensors of a published file, strictly.

    Args:
        vit: from :func:`build_dinov3`.
        state: tensors by their published names.
        origin: where they come from, for messages.

    Raises:
        UserError: weights of another model, or tensors that have no place in this one.
    """
    own = from_published(state, origin)
    _take_periods(vit, own.pop('periods', None), origin)
    load_strictly(vit, own, origin)


def from_published(state: Mapping[str, Tensor], origin: object) -> dict[str, Tensor]:
    """Returns timm's names for the tensors of a published file.

    The mask token, which only training reads, is left out. Of the original files' biases the mask
    is applied; keys must have none then. Without any bias, as in some of timm's, they are zeros.
    Beside weights there may be ``periods`` of the rotary positions.

    Args:
        state: tensors by their published names.
        origin: where they come from, for messages.

    Raises:
        UserError: keys have a bias.
    """
    is_transformers = any(name.startswith('embeddings.') for name in state)
    names = _TRANSFORMERS if is_transformers else _ORIGINAL
    found = {rename(name, names) or name: value for name, value in state.items()}
    found.pop('mask_token', None)
    for block in [name.removesuffix('norm1.weight') for name in found if 'norm1.weight' in name]:
        if f'{block}mlp.fc1_g.weight' in found and f'{block}mlp.fc1.weight' in found:
            for kind in ('weight', 'bias'):  # the other half of a gated MLP
                found[f'{block}mlp.fc1_x.{kind}'] = found.pop(f'{block}mlp.fc1.{kind}')
        _fuse_projections(found, f'{block}attn.', origin)
    return found


def _fuse_projections(state: dict[str, Tensor], prefix: str, origin: object) -> None:
    """Queries, keys and values of an attention as ``Eva`` has them: one weight, two biases."""
    parts = [state.pop(f'{prefix}{part}_proj.weight', None) for part in 'qkv']
    if all(part is not None for part in parts):
        state[f'{prefix}qkv.weight'] = torch.cat(cast('list[Tensor]', parts))
    biases = {part: state.pop(f'{prefix}{part}_proj.bias', None) for part in 'qkv'}
    fused, mask = (state.pop(f'{prefix}qkv.{name}', None) for name in ('bias', 'bias_mask'))
    if fused is not None:
        fused = fused if mask is None else fused * mask
        biases = dict(zip('qkv', fused.chunk(3), strict=True))
    if biases['k'] is not None and biases['k'].any():
        raise UserError(
            f"weights from {origin} have a bias of keys in '{prefix}', which DINOv3 has not; give "
            'a file of DINOv3'
        )
    for part in 'qv':
        name, bias = f'{prefix}{part}_bias', biases[part]
        if bias is not None:
            state[name] = bias
        elif name not in state and f'{prefix}qkv.weight' in state:
            weight = state[f'{prefix}qkv.weight']
            state[name] = weight.new_zeros(len(weight) // 3)


def _take_periods(vit: Eva, periods: Tensor | None, origin: object) -> None:
    """Rotary positions as the file has them, which may be rounded; they must be this model's."""
    if periods is None:
        return
    own = cast('Tensor', cast('RotaryEmbeddingDinoV3', vit.rope).periods)
    if periods.shape != own.shape or not torch.allclose(periods.float(), own, rtol=1e-2):
        raise UserError(
            f'weights from {origin} have other rotary positions (rope_embed.periods) than this '
            'model; check that the model name in the config is the one they were made with'
        )
    own.copy_(periods)


class DINOv3Encoder(DINOEncoder):
    """Patch maps of DINOv3: a projection of its last attention, or its final tokens.

    Projections are those before the rotary positions.

    Args:
        dino: from :func:`load_dinov3`. Its model is read, never written or hooked.

    Source: DINOv3 (arXiv 2508.10104).
    """

    def _given_to_blocks(self, grid: tuple[int, int]) -> dict[str, Any]:
        rotary = cast('RotaryEmbeddingDinoV3', cast('Eva', self.vit).rope)
        return {'rope': rotary.get_embed(list(grid))}
