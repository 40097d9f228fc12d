"""What the last attention of a CLIP ViT may do: pure functions of its queries, keys and values.

Each takes ``q, k, v`` of shape ``(B, heads, N, d)`` (class token first) and an
:class:`AttentionContext`, and returns the new values, same shape as `v`. Numbers of its own are
keyword arguments with the published values as defaults; a config gives others as
``last_block.settings``. A new training-free method is one more function and one more row of
``ATTENTIONS``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

QueriesKeys = tuple[Tensor, Tensor]


def _as_they_are(heads: Tensor) -> Tensor:
    return heads


@dataclass(frozen=True)
class AttentionContext:
    """What an attention is told beside its tokens.

    Attributes:
        bias: (N, N), added to the scaled logits of every head and image, in the dtype of `q`; None
            for none. See :func:`~ovseg.affinity.neighbours.neighbour_bias`.
        scale: factor of the logits beside ``d^-1/2``.
        earlier: queries and keys of the earlier blocks that the last block's specification names,
            each (B, heads, N, d). Not their attentions, which grow with N^2: what a block lets flow
            is ``query_key(queries, keys, v)`` for any values.
        project: values (B, heads, N, d) that were mixed through the block's output projection, and
            into heads again, as many as before; outside of a block they stay as they are.
    """

    bias: Tensor | None = None
    scale: float = 1.0
    earlier: tuple[QueriesKeys, ...] = ()
    project: Callable[[Tensor], Tensor] = _as_they_are


NO_CONTEXT = AttentionContext()
# Of q, k, v and a context, and keyword arguments of the method.
Attention = Callable[..., Tensor]


def query_key(q: Tensor, k: Tensor, v: Tensor, context: AttentionContext = NO_CONTEXT) -> Tensor:
    """CLIP's own attention, ``softmax(q k^T / sqrt(d)) v``."""
    scale = context.scale * q.shape[-1] ** -0.5
    return F.scaled_dot_product_attention(q, k, v, attn_mask=context.bias, scale=scale)


def value_only(q: Tensor, k: Tensor, v: Tensor, context: AttentionContext = NO_CONTEXT) -> Tensor:
    """The values themselves: every token sees only itself (MaskCLIP, section 3.2)."""
    return v


def query_query(q: Tensor, k: Tensor, v: Tensor, context: AttentionContext = NO_CONTEXT) -> Tensor:
    """``softmax(q q^T / sqrt(d)) v``: tokens that ask alike are averaged (ClearCLIP, section 3)."""
    return query_key(q, q, v, context)


def key_key(q: Tensor, k: Tensor, v: Tensor, context: AttentionContext = NO_CONTEXT) -> Tensor:
    """``softmax(k k^T / sqrt(d)) v``: tokens that offer alike are averaged.

    With a neighbour bias it is NACLIP's attention (arXiv 2404.08181, section 3.3).
    """
    return query_key(k, k, v, context)


def value_value(q: Tensor, k: Tensor, v: Tensor, context: AttentionContext = NO_CONTEXT) -> Tensor:
    """``softmax(v v^T / sqrt(d)) v``: tokens that say alike are averaged.

    Source: CLIP Surgery (arXiv 2304.05653), section 3.2; AnoVL (arXiv 2308.15939), in all blocks.
    """
    return query_key(v, v, v, context)


def query_query_plus_key_key(
    q: Tensor, k: Tensor, v: Tensor, context: AttentionContext = NO_CONTEXT
) -> Tensor:
    """``(softmax(q q^T / sqrt(d)) + softmax(k k^T / sqrt(d))) v``, not halved: rows add to 2.

    Source: SCLIP (arXiv 2312.01597), correlative self-attention, section 3.2.
    """
    return query_query(q, k, v, context) + key_key(q, k, v, context)


def neighbours_only(
    q: Tensor, k: Tensor, v: Tensor, context: AttentionContext = NO_CONTEXT
) -> Tensor:
    """``softmax(c G) v``: where tokens are decides alone, what they hold only how sharply.

    ``c`` is the mean of ``|q_i| |k_j| / sqrt(d)`` over heads and pairs of tokens, for each image by
    itself. All heads share the weights.

    Source: NACLIP (arXiv 2404.08181), ablation "neighbourhood only".
    """
    assert context.bias is not None  # NEEDS_BIAS
    lengths = (t.float().norm(dim=-1).mean(-1) for t in (q, k))  # (B, heads) each
    sharpness = context.scale * q.shape[-1] ** -0.5 * next(lengths).mul(next(lengths)).mean(-1)
    weights = (sharpness[:, None, None] * context.bias.float()).softmax(-1)
    return weights.to(v.dtype)[:, None] @ v


def output_output(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    context: AttentionContext = NO_CONTEXT,
    *,
    sharpness: float = 10.0,
) -> Tensor:
    """``softmax(c u u^T) v`` over pairs that do not disagree: what becomes alike is averaged.

    ``u`` are the unit vectors of what the model's own attention gives behind its output projection,
    cut into heads there. Pairs of negative cosine get 0; every token agrees with itself.

    Source: RADSeg, self-correlating recursive attention (SCRA); `sharpness` from its released code.
    """
    units = F.normalize(context.project(query_key(q, k, v, context)), dim=-1)
    logits = units @ units.transpose(-2, -1)
    logits.masked_fill_(logits < 0, float('-inf')).mul_(sharpness)
    return logits.softmax(-1) @ v


def with_earlier(attention: Attention) -> Attention:
    """An attention beside what earlier blocks let flow, ResCLIP's residual attention.

    Their cross-correlation ``softmax(q k^T / sqrt(d))`` still knows places, which the last block's
    has lost. Heads keep their number from block to block.

    Args:
        attention: the last block's own, a self-correlation.

    Returns:
        ``gain * ((1 - share) * attention + share * mean of the earlier blocks)``, all of them times
        the last block's values.

    Source: ResCLIP (arXiv 2411.15851), residual cross-correlation self-attention; `gain` and
    `share` from its released configs, where the share depends on the data set (0.2 to 0.6).
    """

    def mixed(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        context: AttentionContext = NO_CONTEXT,
        *,
        share: float = 0.4,
        gain: float = 2.0,
    ) -> Tensor:
        flows = torch.stack([query_key(*compared, v) for compared in context.earlier])
        return gain * torch.lerp(attention(q, k, v, context), flows.mean(0), share)

    return mixed


# name -> (function, which it compares: 'q', 'k', 'v', 'e' for those of earlier blocks)
ATTENTIONS: dict[str, tuple[Attention, str]] = {
    'qk': (query_key, 'qk'),
    'value': (value_only, ''),
    'qq': (query_query, 'q'),
    'kk': (key_key, 'k'),
    'vv': (value_value, 'v'),
    'qq+kk': (query_query_plus_key_key, 'qk'),
    'neighbours': (neighbours_only, 'qk'),
    'scra': (output_output, 'qk'),
    'qq+earlier': (with_earlier(query_query), 'qe'),
    'kk+earlier': (with_earlier(key_key), 'ke'),
    'qq+kk+earlier': (with_earlier(query_query_plus_key_key), 'qke'),
}
# Those that look at no other token, and those that mean nothing without a neighbour bias.
TAKES_NO_BIAS = frozenset({'value', 'scra'})
NEEDS_BIAS = frozenset({'neighbours'})


def settings_of(attention: str) -> dict[str, float]:
    """Numbers of an attention that a config may change, with their defaults.

    Args:
        attention: a key of :data:`ATTENTIONS`.
    """
    parameters = inspect.signature(ATTENTIONS[attention][0]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
