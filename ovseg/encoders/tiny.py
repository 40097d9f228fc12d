"""The tiny CLIPs that ship with ovseg, a SigLIP among them: open_clip's classes, a few MB."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from ovseg.encoders.clip import build_architecture
from ovseg.encoders.embedded import fill_and_freeze, read_embedded
from ovseg.errors import UserError
from ovseg.weight_files import WEIGHTS, Unfilled, shipped_file

TOKENS = 'token_embedding.weight'


def build_tiny_clip(
    name: str = 'tiny_clip_scenes', folder: str | Path = WEIGHTS
) -> tuple[nn.Module, open_clip.SimpleTokenizer, tuple[float, ...], tuple[float, ...]]:
    """Returns an embedded CLIP: (model, tokenizer, pixel mean, pixel standard deviation).

    The file holds the token embedding's rows of the words that training saw; every other word gets
    their mean, which says nothing.

    Args:
        name: ``NAME.safetensors`` and ``NAME.json`` lie in the folder.
        folder: the package's own, or one that ``tools/export.py tiny-clip`` wrote to.

    Raises:
        UserError: no such model, or weights that do not fit its description.

    Example:
        >>> clip, tokenizer, mean, std = build_tiny_clip()
        >>> clip.encode_text(tokenizer(['a red star'])).shape
        torch.Size([1, 128])
    """
    facts, state = read_embedded(name, folder, 'clip')
    with Unfilled():
        clip = build_architecture(facts['model'])
    for key in {TOKENS, f'text.{TOKENS}'} & set(state):
        state[key] = all_token_rows(state[key], facts['token_ids'], clip.get_parameter(key))
    fill_and_freeze(clip, state, name)
    tokenizer = open_clip.SimpleTokenizer(context_length=clip.context_length)
    return clip, tokenizer, tuple(facts['mean']), tuple(facts['std'])


def load_exported_clip(
    weights: str | Path, architecture: Mapping[str, Any]
) -> tuple[nn.Module, open_clip.SimpleTokenizer, tuple[float, ...], tuple[float, ...]]:
    """A CLIP that ``tools/export.py tiny-clip`` wrote; see :func:`build_tiny_clip`.

    Args:
        weights: its ``NAME.safetensors``, with ``NAME.json`` beside it, or ``ovseg://NAME``.
        architecture: the open_clip model config that a user expects.

    Raises:
        UserError: it is another model.
    """
    path = shipped_file(weights) or Path(weights)
    facts, _ = read_embedded(path.stem, path.parent, 'clip')
    if facts['model'] != json.loads(json.dumps(architecture)):
        raise UserError(
            f'{path} holds another CLIP than clip.model describes; give the model config of its '
            f'training ({path.stem}.json has it)'
        )
    return build_tiny_clip(path.stem, path.parent)


def all_token_rows(rows: Tensor, token_ids: list[int], like: Tensor) -> Tensor:
    """The whole token embedding, (vocabulary, width).

    Args:
        rows: (n, width), those of the words that training saw.
        token_ids: n ids of them.
        like: (vocabulary, width).

    Raises:
        UserError: rows of another number or width.
    """
    if len(token_ids) != len(rows) or rows.shape[1:] != like.shape[1:]:
        raise UserError(
            f'{len(rows)} stored token rows of width {rows.shape[-1]} do not fit '
            f'{len(token_ids)} ids and width {like.shape[1]}'
        )
    full = rows.mean(0).expand_as(like).clone()
    full[torch.tensor(token_ids)] = rows
    return full
