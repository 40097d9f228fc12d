"""Pre-norm transformer blocks of several packages, taken apart into the same pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from timm.layers import apply_rot_embed_cat
from torch import Tensor, cat, nn

from ovseg.errors import UserError

# Sines and cosines of a grid's rotary position embedding, as the block's package has them.
Rotation = Tensor | tuple[Tensor, Tensor]
# A layer scale: a module, the factors themselves, or nothing.
Scale = Callable[[Tensor], Tensor] | Tensor | None


@dataclass(frozen=True)
class OpenedBlock:
    """The pieces of ``x + scale(out(attention(norm(x))))`` and of the MLP behind it.

    The pieces are the block's own modules and views of its weights: nothing is copied.

    Attributes:
        heads: of the attention.
        norm: before the attention.
        projections: weight (A, C) and bias (A,) or None of ``'q'``, ``'k'`` and ``'v'``.
        out: what follows the mixing of values, in order: an inner norm where there is one, and the
            output projection.
        scale: layer scale of the attention.
        mlp_norm: before the MLP.
        mlp: the MLP.
        mlp_scale: layer scale of the MLP.
        head_norms: norms of ``'q'`` and ``'k'`` (B, heads, N, d), where there are any.
        turn: turns queries or keys of the patches (B, heads, h*w, d) by a rotary position
            embedding; None where the package's block takes none.
        before: a norm of what enters the block, the residual included; see
            :class:`BlockBehindNorm`.
    """

    heads: int
    norm: nn.Module
    projections: Mapping[str, tuple[Tensor, Tensor | None]]
    out: tuple[nn.Module, ...]
    mlp_norm: nn.Module
    mlp: nn.Module
    scale: Scale = None
    mlp_scale: Scale = None
    head_norms: Mapping[str, nn.Module] = field(default_factory=dict)
    turn: Callable[[Tensor, Rotation], Tensor] | None = None
    before: nn.Module | None = None

    def entered(self, tokens: Tensor) -> Tensor:
        """Tokens (..., C) as the block's residual has them."""
        return tokens if self.before is None else self.before(tokens)

    def attended(self, mixed: Tensor) -> Tensor:
        """Mixed values (..., A), heads side by side, as the block adds them to its input."""
        return _scaled(self.scale, self.projected(mixed))

    def projected(self, mixed: Tensor) -> Tensor:
        """Mixed values (..., A) through what follows the mixing, without the layer scale."""
        for module in self.out:
            mixed = module(mixed)
        return mixed

    def turned(self, heads: Tensor, rotation: Rotation | None) -> Tensor:
        """Queries or keys (B, heads, N, d) with the patches, which are the last of them, turned."""
        if rotation is None or self.turn is None:
            return heads
        table = rotation if isinstance(rotation, Tensor) else rotation[0]
        prefix = heads.shape[2] - table.shape[-2]
        turned = self.turn(heads[:, :, prefix:], rotation)
        return cat([heads[:, :, :prefix], turned.type_as(heads)], dim=2)

    def fed_forward(self, normed: Tensor) -> Tensor:
        """Normed tokens (..., C) through the MLP, as the block adds it."""
        return _scaled(self.mlp_scale, self.mlp(normed))


class BlockBehindNorm(nn.Module):
    """A block of another network's that reads what a norm makes of the tokens before it.

    Args:
        norm: the last one of the network before it.
        block: which :func:`open_block` takes apart.
    """

    def __init__(self, norm: nn.Module, block: nn.Module) -> None:
        super().__init__()
        self.norm, self.block = norm, block

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, C) after the block."""
        return self.block(self.norm(tokens))


def open_block(block: nn.Module) -> OpenedBlock:
    """Takes a block apart.

    Args:
        block: open_clip's ``ResidualAttentionBlock``, timm's ``Block`` or ``EvaBlock`` (fused or
            split projections), or a layer of transformers' CLIP, SigLIP, TIPSv2, RADIO or DINOv3.

    Raises:
        UserError: another kind of block, or one with a gate or grouped keys.
    """
    for kind in type(block).__mro__:
        opener = _OPENERS.get(f'{kind.__module__}.{kind.__name__}')
        if opener is not None:
            return opener(block)
    known = ', '.join(name.rpartition('.')[2] for name in _OPENERS)
    raise UserError(
        f'a transformer block is a {type(block).__module__}.{type(block).__name__}, which cannot '
        f'be run densely (known: {known}); choose another model'
    )


def _open_clip_block(block: Any) -> OpenedBlock:
    attn = block.attn
    return OpenedBlock(
        attn.num_heads,
        block.ln_1,
        _stacked(attn.in_proj_weight, attn.in_proj_bias.chunk(3)),
        (attn.out_proj,),
        block.ln_2,
        block.mlp,
        block.ls_1,
        block.ls_2,
    )


def _timm_block(block: Any) -> OpenedBlock:
    return _of_timm(block, block.ls1, block.ls2)


def _timm_eva_block(block: Any) -> OpenedBlock:
    return _of_timm(block, block.gamma_1, block.gamma_2)


def _of_timm(block: Any, scale: Scale, mlp_scale: Scale) -> OpenedBlock:
    attn = block.attn
    if getattr(attn, 'gate', None) is not None or getattr(attn, 'num_kv_groups', 1) != 1:
        raise UserError(
            f'the attention of a {type(block).__name__} has a gate or keys that heads share, and '
            'values mixed elsewhere know of neither; choose another model'
        )
    if attn.qkv is None:
        projections = _separate(attn, '{}_proj')
    elif getattr(attn, 'q_bias', None) is None:
        bias = attn.qkv.bias
        projections = _stacked(attn.qkv.weight, (None,) * 3 if bias is None else bias.chunk(3))
    else:  # keys have a bias of zeros, which is in no checkpoint
        projections = _stacked(attn.qkv.weight, (attn.q_bias, attn.k_bias, attn.v_bias))
    half = getattr(attn, 'rotate_half', False)

    def turn(patches: Tensor, rotation: Any) -> Tensor:
        return apply_rot_embed_cat(patches, rotation, half=half)

    return OpenedBlock(
        attn.num_heads,
        block.norm1,
        projections,
        (attn.norm, attn.proj),
        block.norm2,
        block.mlp,
        scale,
        mlp_scale,
        {'q': attn.q_norm, 'k': attn.k_norm},
        turn if hasattr(attn, 'num_prefix_tokens') else None,
    )


def _transformers_layer(block: Any) -> OpenedBlock:
    attention = block.attention
    # Two names for one number, by model.
    heads = getattr(attention, 'num_attention_heads', None) or attention.num_heads
    return OpenedBlock(
        heads,
        block.norm1,
        _separate(attention, '{}_proj'),
        (attention.o_proj,),
        block.norm2,
        block.mlp,
        block.layer_scale1,
        block.layer_scale2,
        turn=_turn_halves,
    )


def _transformers_clip_layer(block: Any) -> OpenedBlock:
    attention = block.self_attn
    return OpenedBlock(
        attention.num_heads,
        block.layer_norm1,
        _separate(attention, '{}_proj'),
        (attention.out_proj,),
        block.layer_norm2,
        block.mlp,
    )


def _block_behind_norm(block: Any) -> OpenedBlock:
    return replace(open_block(block.block), before=block.norm)


# By name: a package that is not installed made no block.
_OPENERS: dict[str, Callable[[Any], OpenedBlock]] = {
    'open_clip.transformer.ResidualAttentionBlock': _open_clip_block,
    'ovseg.affinity.opened_blocks.BlockBehindNorm': _block_behind_norm,
    'timm.models.eva.EvaBlock': _timm_eva_block,
    'timm.models.vision_transformer.Block': _timm_block,
    'transformers.models.clip.modeling_clip.CLIPEncoderLayer': _transformers_clip_layer,
    'transformers.models.dinov3_vit.modeling_dinov3_vit.DINOv3ViTLayer': _transformers_layer,
    'transformers.models.radio.modeling_radio.RadioLayer': _transformers_layer,
    'transformers.models.siglip.modeling_siglip.SiglipEncoderLayer': _transformers_clip_layer,
    'transformers.models.tipsv2.modeling_tipsv2.Tipsv2VisionLayer': _transformers_layer,
}


def _stacked(
    weight: Tensor, biases: tuple[Tensor | None, ...]
) -> dict[str, tuple[Tensor, Tensor | None]]:
    return dict(zip('qkv', zip(weight.chunk(3), biases, strict=True), strict=True))


def _separate(attention: nn.Module, name: str) -> dict[str, tuple[Tensor, Tensor | None]]:
    layers = {which: getattr(attention, name.format(which)) for which in 'qkv'}
    return {which: (layer.weight, layer.bias) for which, layer in layers.items()}


def _turn_halves(patches: Tensor, rotation: Rotation) -> Tensor:
    """Turned by cosines and sines (h*w, d), as DINOv3 has it."""
    cosines, sines = rotation
    first, second = patches.chunk(2, dim=-1)
    return patches * cosines + cat([-second, first], dim=-1) * sines


def _scaled(scale: Scale, tokens: Tensor) -> Tensor:
    if scale is None:
        return tokens
    return tokens * scale if isinstance(scale, Tensor) else scale(tokens)
