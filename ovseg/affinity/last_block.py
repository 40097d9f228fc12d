"""Running the last block of a vision transformer as a dense method wants it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.affinity.opened_blocks import OpenedBlock, Rotation, open_block
from ovseg.affinity.variants import (
    ATTENTIONS,
    NEEDS_BIAS,
    TAKES_NO_BIAS,
    AttentionContext,
    QueriesKeys,
    settings_of,
)
from ovseg.errors import UserError, nearest


@dataclass(frozen=True)
class LastBlockSpec:
    """What the last transformer block computes.

    Attributes:
        attention: a key of :data:`ovseg.affinity.variants.ATTENTIONS`.
        residual: the block's input is added to the attention's output.
        ffn: the block's own MLP (with its residual) follows.
        final_norm: the tower's last layer norm follows.
        neighbour_std: standard deviation, in patches, of the Gaussian of the distance between
            patches that is added to the attention's logits; None for none.
        scale: factor of the attention's logits beside ``d^-1/2``.
        earlier_blocks: blocks before this one, counted from 1, whose queries and keys the attention
            is given; for those that read them, empty for all others.
        summed: how many last blocks take part. Their attentions, each on the tokens that the model
            itself has there, are added to what enters the first of them; the MLP, if any, is that
            of the last. Of a tower with fewer blocks all take part.
        settings: the attention's own numbers, where they are not its defaults.
    """

    attention: str = 'value'
    residual: bool = True
    ffn: bool = True
    final_norm: bool = True
    neighbour_std: float | None = None
    scale: float = 1.0
    earlier_blocks: tuple[int, ...] = ()
    summed: int = 1
    settings: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks the attention and what it is given."""
        if self.attention not in ATTENTIONS:
            raise UserError(
                f"last_block.attention must be one of {list(ATTENTIONS)}, got '{self.attention}'."
                f'{nearest(self.attention, ATTENTIONS)}'
            )
        std = self.neighbour_std
        if std is not None and not std > 0:
            raise UserError(f'last_block.neighbour_std must be positive or None, got {std}')
        if std is not None and self.attention in TAKES_NO_BIAS:
            raise UserError(
                f"last_block.attention '{self.attention}' looks at no neighbours; remove "
                'last_block.neighbour_std'
            )
        if std is None and self.attention in NEEDS_BIAS:
            raise UserError(
                f"last_block.attention '{self.attention}' needs last_block.neighbour_std "
                '(published 5.0)'
            )
        if not self.scale > 0:
            raise UserError(f'last_block.scale must be positive, got {self.scale}')
        self._check_earlier_blocks()
        if self.summed < 1 or (self.summed > 1 and not self.residual):
            raise UserError(
                'last_block.summed counts the last blocks whose attentions are added to what '
                f'enters them: a number from 1, with residual=True; got {self.summed} with '
                f'residual={self.residual}'
            )
        known = settings_of(self.attention)
        for name in self.settings:
            if name not in known:
                raise UserError(
                    f"last_block.settings of attention '{self.attention}' may be {list(known)}, "
                    f"got '{name}'.{nearest(name, known)}"
                )

    def _check_earlier_blocks(self) -> None:
        """Blocks are named where they are read, and nowhere else."""
        reads_them = 'e' in ATTENTIONS[self.attention][1]
        if reads_them and not self.earlier_blocks:
            raise UserError(
                f"last_block.attention '{self.attention}' needs last_block.earlier_blocks, for "
                'instance (6, 7, 8, 9) of 12'
            )
        if self.earlier_blocks and not reads_them:
            raise UserError(
                f"last_block.attention '{self.attention}' reads no earlier block; remove "
                'last_block.earlier_blocks'
            )


# CLIP's own block.
PLAIN_BLOCK = LastBlockSpec('qk')

# The presets of the known methods. MaskCLIP: specs of the released code (residual and MLP kept);
# 'value' is the reading of several third-party copies (output projection alone).
LAST_BLOCKS: dict[str, LastBlockSpec] = {
    'vanilla': PLAIN_BLOCK,
    'maskclip': LastBlockSpec('value'),
    'value': LastBlockSpec('value', residual=False, ffn=False),
    'qq': LastBlockSpec('qq', residual=False, ffn=False),
    'kk': LastBlockSpec('kk', residual=False, ffn=False),
    'sclip': LastBlockSpec('qq+kk'),
    'clearclip': LastBlockSpec('qq', residual=False, ffn=False),
    'naclip': LastBlockSpec('kk', residual=False, ffn=False, neighbour_std=5.0),
    'resclip': LastBlockSpec(
        'kk+earlier',
        residual=False,
        ffn=False,
        neighbour_std=5.0,
        earlier_blocks=(6, 7, 8, 9),
    ),
    'radseg': LastBlockSpec('scra'),
    'vv-all': LastBlockSpec('vv', ffn=False, summed=12),  # AnoVL, which opens no more of 24
}


def last_block_spec(config: str | dict | LastBlockSpec) -> LastBlockSpec:
    """Returns the specification that a config names.

    Args:
        config: a preset's name, the fields of :class:`LastBlockSpec` as a dict, or one of these. A
            dict may name a ``preset``, whose fields it changes.

    Raises:
        UserError: unknown preset, field or attention.

    Example:
        >>> last_block_spec(dict(preset='naclip', neighbour_std=3.0)).attention
        'kk'
    """
    if isinstance(config, LastBlockSpec):
        return config
    if isinstance(config, str):
        if config not in LAST_BLOCKS:
            raise UserError(
                f"last_block must be one of {list(LAST_BLOCKS)} or a dict, got '{config}'."
                f'{nearest(config, LAST_BLOCKS)}'
            )
        return LAST_BLOCKS[config]
    fields = dict(config)
    try:
        if 'preset' in fields:
            return replace(last_block_spec(fields.pop('preset')), **fields)
        return LastBlockSpec(**fields)
    except TypeError as error:
        raise UserError(f'last_block: {error}') from error


@dataclass(frozen=True)
class LastBlockOutput:
    """Tokens after the last block and, if asked for, its projected queries and keys.

    Attributes:
        tokens: (B, N, C), prefix first.
        mlp_input: (B, N, C), what the block's MLP reads: normed tokens after attention and
            residual; None without the MLP.
        queries: (B, N, C) or None, after the output projection as MaskCLIP returns them.
        keys: (B, N, C) or None, likewise.
        compared: queries and keys (B, heads, N, d) as the attention compares them, or None.
    """

    tokens: Tensor
    mlp_input: Tensor | None
    queries: Tensor | None
    keys: Tensor | None
    compared: QueriesKeys | None = None


def run_block(
    block: nn.Module,
    tokens: Tensor,
    spec: LastBlockSpec,
    with_queries: bool = False,
    with_keys: bool = False,
    bias: Tensor | None = None,
    earlier: tuple[QueriesKeys, ...] = (),
    with_compared: bool = False,
    rotation: Rotation | None = None,
    onto: Tensor | None = None,
) -> LastBlockOutput:
    """Runs a block with another attention; only the asked projections are computed.

    Args:
        block: one that :func:`~ovseg.affinity.opened_blocks.open_block` takes apart; its parameters
            are read, never written.
        tokens: (B, N, C), the tokens entering the block, prefix first.
        spec: what to compute (without the final norm, which is the tower's).
        with_queries: also return the queries after the output projection.
        with_keys: also return the keys, likewise.
        bias: (N, N) neighbour bias of the tokens' grid, where the specification has one.
        earlier: what `spec.earlier_blocks` compared.
        with_compared: also return the queries and keys by heads, for a later block's `earlier`.
        rotation: rotary position embedding of the grid, as the block's package has it. Queries and
            keys are turned by it whatever the attention compares.
        onto: (B, N, C) that the attention is added to, in place of the tokens; for `spec.summed`.

    Raises:
        UserError: a block that cannot be taken apart.

    Source: MaskCLIP (arXiv 2112.01071) section 3.2; the released ViT applies the output projection,
    weight and bias, to q, k and v alike and keeps residual and MLP for v.
    """
    attention, reads = ATTENTIONS[spec.attention]
    opened = open_block(block)
    entered = opened.entered(tokens)
    normed = opened.norm(entered)
    needed = {
        'q': with_queries or with_compared or 'q' in reads,
        'k': with_keys or with_compared or 'k' in reads,
        'v': True,
    }
    projected = {
        name: F.linear(normed, *opened.projections[name])
        for name, wanted in needed.items()
        if wanted
    }

    def split(name: str) -> Tensor:
        # A variant never reads what was not projected; the values stand in to keep one signature.
        name = name if name in projected else 'v'
        heads = projected[name].unflatten(-1, (opened.heads, -1)).transpose(1, 2)
        if name in opened.head_norms:
            heads = opened.head_norms[name](heads)
        return heads if name == 'v' else opened.turned(heads, rotation)

    mixed = projected['v']
    if reads:
        bias = None if bias is None else bias.to(mixed.dtype)

        def project(heads: Tensor) -> Tensor:
            out = opened.projected(heads.transpose(1, 2).flatten(2))
            return out.unflatten(-1, (opened.heads, -1)).transpose(1, 2)

        context = AttentionContext(bias, spec.scale, earlier, project)
        heads = attention(split('q'), split('k'), split('v'), context, **spec.settings)
        mixed = heads.transpose(1, 2).flatten(2)
    base = entered if onto is None else onto
    out, mlp_input = _finish(opened, mixed, base if spec.residual else None, spec.ffn)
    return LastBlockOutput(
        tokens=out,
        mlp_input=mlp_input,
        queries=opened.projected(projected['q']) if with_queries else None,
        keys=opened.projected(projected['k']) if with_keys else None,
        compared=(split('q'), split('k')) if with_compared else None,
    )


def project_values(block: nn.Module, tokens: Tensor) -> Tensor:
    """What a block's attention would mix.

    Args:
        block: see :func:`run_block`.
        tokens: (B, N, C), the tokens entering the block.

    Returns:
        (B, N, A), heads side by side.
    """
    opened = open_block(block)
    return F.linear(opened.norm(opened.entered(tokens)), *opened.projections['v'])


def finish_block(
    block: nn.Module, mixed: Tensor, residual: Tensor | None, ffn: bool
) -> tuple[Tensor, Tensor | None]:
    """Tokens after a block from the values that its attention mixed.

    Args:
        block: see :func:`run_block`.
        mixed: (..., A), heads side by side.
        residual: (..., C), the tokens that entered the block; None leaves them out.
        ffn: whether the block's MLP follows, with its own residual.

    Returns:
        (..., C) tokens, and what the MLP read or None.
    """
    opened = open_block(block)
    return _finish(opened, mixed, None if residual is None else opened.entered(residual), ffn)


def _finish(
    opened: OpenedBlock, mixed: Tensor, entered: Tensor | None, ffn: bool
) -> tuple[Tensor, Tensor | None]:
    """:func:`finish_block` of an opened block, the residual as the block has it."""
    out = opened.attended(mixed)
    if entered is not None:
        out = out + entered
    if not ffn:
        return out, None
    mlp_input = opened.mlp_norm(out)
    return out + opened.fed_forward(mlp_input), mlp_input


def drop_prefix(tokens: Tensor, grid: tuple[int, int], prefix: int = 1) -> Tensor:
    """Patch tokens as a map.

    Args:
        tokens: (B, prefix + h*w, C), class and register tokens first.
        grid: (h, w).
        prefix: how many tokens stand before the patches.

    Returns:
        (B, C, h, w).

    Example:
        >>> import torch
        >>> drop_prefix(torch.zeros(2, 7, 5), (2, 3)).shape
        torch.Size([2, 5, 2, 3])
    """
    return tokens[:, prefix:].transpose(1, 2).unflatten(2, grid)
