"""The tiny CLIP that ships with ovseg: open_clip's class and tokenizer, weights of a few MB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from ovseg.encoders.embedded import fill_and_freeze, read_embedded, write_embedded
from ovseg.errors import UserError
from ovseg.weight_files import WEIGHTS

TOKENS = 'token_embedding.weight'


def build_tiny_clip(
    name: str = 'tiny_clip_scenes', folder: str | Path = WEIGHTS
) -> tuple[nn.Module, open_clip.SimpleTokenizer, tuple[float, ...], tuple[float, ...]]:
    """Returns an embedded CLIP: (model, tokenizer, pixel mean, pixel standard deviation).

    The file holds the token embedding's rows of the words that training saw; every other word gets
    their mean, which says nothing.

    Args:
        name: ``NAME.safetensors`` and ``NAME.json`` lie in the folder.
        folder: the package's own, or one that ``tools/export_tiny_clip.py`` wrote to.

    Raises:
        UserError: no such model, or weights that do not fit its description.

    Example:
        >>> clip, tokenizer, mean, std = build_tiny_clip()
        >>> clip.encode_text(tokenizer(['a red star'])).shape
        torch.Size([1, 128])
    """
    facts, state = read_embedded(name, folder, 'clip')
    clip = open_clip.CLIP(**facts['model'])
    if TOKENS in state:
        state[TOKENS] = _all_rows(state[TOKENS], facts['token_ids'], clip.token_embedding.weight)
    fill_and_freeze(clip, state, name)
    tokenizer = open_clip.SimpleTokenizer(context_length=clip.context_length)
    return clip, tokenizer, tuple(facts['mean']), tuple(facts['std'])


def save_tiny_clip(
    path: str | Path,
    state: dict[str, Tensor],
    model: dict[str, Any],
    token_ids: Tensor,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    origin: dict[str, Any],
) -> int:
    """Writes ``PATH.safetensors`` and ``PATH.json`` for :func:`build_tiny_clip`.

    Args:
        path: where to, with or without the suffix.
        state: open_clip's state dict; the token embedding has one row for each of `token_ids`.
        model: the open_clip model config.
        token_ids: (R,) ids of the embedding's rows in the tokenizer's vocabulary.
        mean: pixel mean, RGB, in units of [0, 1].
        std: pixel standard deviation, likewise.
        origin: how the weights were made, for people.

    Returns:
        Size of the weights in bytes; they are stored in float16.

    Raises:
        UserError: as many ids as embedding rows are needed; a weight is not finite in float16.
    """
    if len(token_ids) != len(state[TOKENS]):
        raise UserError(
            f'{len(token_ids)} token ids for {len(state[TOKENS])} rows of {TOKENS}: '
            'use the config that the checkpoint was trained with'
        )
    facts = {
        'model': model,
        'mean': list(mean),
        'std': list(std),
        'token_ids': token_ids.tolist(),
        'origin': origin,
    }
    return write_embedded(path, facts, state)


def _all_rows(rows: Tensor, token_ids: list[int], like: Tensor) -> Tensor:
    """The whole token embedding, (vocabulary, width)."""
    if len(token_ids) != len(rows) or rows.shape[1:] != like.shape[1:]:
        raise UserError(
            f'{len(rows)} stored token rows of width {rows.shape[-1]} do not fit '
            f'{len(token_ids)} ids and width {like.shape[1]}'
        )
    full = rows.mean(0).expand_as(like).clone()
    full[torch.tensor(token_ids)] = rows
    return full
