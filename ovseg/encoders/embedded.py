"""Weights that ship with ovseg: a safetensors file in float16 and a JSON description beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ovseg.errors import UserError, nearest
from ovseg.files import written_whole
from ovseg.weight_files import read_state_dict, shipped_file


def read_embedded(
    name: str, folder: str | Path, kind: str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Returns what is known about an embedded model, and its state dict in float32.

    Args:
        name: ``NAME.safetensors`` and ``NAME.json`` lie in the folder.
        folder: where.
        kind: 'clip', 'dino', 'found', 'sam' or 'sam3': what the caller builds from it.

    Raises:
        UserError: the folder has no such model of this kind.
    """
    folder = Path(folder)
    description, weights = folder / f'{name}.json', folder / f'{name}.safetensors'
    if os.path.isfile(description) and os.path.isfile(weights):
        facts = json.loads(description.read_text(encoding='utf-8'))
        if _kind(facts) == kind:
            return facts, {key: value.float() for key, value in read_state_dict(weights).items()}
    known = [
        path.stem
        for path in sorted(folder.glob('*.json'))
        if _kind(json.loads(path.read_text(encoding='utf-8'))) == kind
    ]
    raise UserError(
        f"{folder} has no {kind} model '{name}' (there is: {', '.join(known) or 'none'})."
        f'{nearest(name, known)}'
    )


def is_exported(weights: str | Path) -> bool:
    """Whether a file of weights has a description beside it, as :func:`write_embedded` writes them.

    Args:
        weights: a path, ``ovseg://NAME``, a tag or any other name.
    """
    path = shipped_file(weights) or Path(weights)
    return path.suffix == '.safetensors' and os.path.isfile(path.with_suffix('.json'))


def write_embedded(
    path: str | Path,
    kind: str,
    state: Mapping[str, Tensor],
    *,
    origin: Mapping[str, Any],
    **facts: Any,
) -> int:
    """Writes ``PATH.safetensors`` and ``PATH.json`` for :func:`read_embedded`.

    Args:
        path: where to, with or without the suffix.
        kind: 'clip', 'dino', 'found', 'sam' or 'sam3': which function builds it.
        state: stored in float16.
        origin: how the weights were made, for people.
        facts: what that function reads: the ``model``'s arguments, pixel ``mean`` and ``std`` in
            the model's own units; ``token_ids`` of the rows of the token embedding; ``dino``
            and ``channels`` of a FOUND.

    Returns:
        Size of the weights in bytes.

    Raises:
        UserError: a weight is not finite in float16.
    """
    path = Path(path).with_suffix('')
    size = write_weights(path.with_suffix('.safetensors'), state)
    described = {'kind': kind, **facts, 'origin': dict(origin)}
    with written_whole(path.with_suffix('.json')) as temporary:
        temporary.write_text(json.dumps(described, indent=2) + '\n', encoding='utf-8')
    return size


def write_weights(
    path: str | Path, state: Mapping[str, Tensor], dtype: torch.dtype = torch.float16
) -> int:
    """Writes a safetensors file.

    Args:
        path: ends in ``.safetensors``.
        state: tensors by name.
        dtype: of numbers with a fraction.

    Returns:
        Its size in bytes.

    Raises:
        UserError: another suffix, or a weight that is not finite in float16.
    """
    path = Path(path)
    if path.suffix != '.safetensors':
        raise UserError(f'{path} must end in .safetensors')
    with written_whole(path) as temporary:
        save_file(in_precision(state, dtype), temporary)
    return path.stat().st_size


def in_precision(state: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Copies of tensors on the CPU, numbers with a fraction in another precision.

    Args:
        state: tensors by name.
        dtype: of numbers with a fraction.

    Raises:
        UserError: a weight is not finite in that precision.
    """
    copies = {}
    for key, value in state.items():
        value = value.detach().cpu().contiguous()
        copies[key] = value.to(dtype) if value.is_floating_point() else value
        if not torch.isfinite(copies[key]).all():
            name = str(dtype).removeprefix('torch.')
            raise UserError(f'{key} of the checkpoint is not finite in {name}')
    return copies


def fill_and_freeze(module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Loads every weight, switches to evaluation and freezes.

    Args:
        module: changed in place.
        state: its whole state dict.
        name: of the embedded model, for the message.

    Raises:
        UserError: the weights do not fit the description.
    """
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f'{name}.safetensors does not fit {name}.json: {error}') from error
    module.eval().requires_grad_(False)


def _kind(facts: Mapping[str, Any]) -> str:
    # The first embedded models were CLIPs, whose descriptions have no `kind`.
    return facts.get('kind', 'clip')
