"""What the last attention of a CLIP ViT may do: pure functions of its queries, keys and values.

Each takes ``q, k, v`` of shape ``(B, heads, N, d)`` (class token first) and returns the new values,
same shape. A new training-free method is one more function and one more row of ``ATTENTIONS``.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def query_key(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """CLIP's own attention, ``softmax(q k^T / sqrt(d)) v``."""
    return F.scaled_dot_product_attention(q, k, v)


def value_only(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The values themselves: every token sees only itself (MaskCLIP, section 3.2)."""
    return v


def query_query(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """``softmax(q q^T / sqrt(d)) v``: tokens that ask alike are averaged."""
    return F.scaled_dot_product_attention(q, q, v)


def key_key(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """``softmax(k k^T / sqrt(d)) v``: tokens that offer alike are averaged."""
    return F.scaled_dot_product_attention(k, k, v)


# name -> (function, which of 'q', 'k' it reads besides the values)
ATTENTIONS: dict[str, tuple[Attention, str]] = {
    'qk': (query_key, 'qk'),
    'value': (value_only, ''),
    'qq': (query_query, 'q'),
    'kk': (key_key, 'k'),
}
