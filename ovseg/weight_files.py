"""Weight files: read without ever executing a pickle, renamed by tables, loaded strictly."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ovseg.errors import UserError

# Of a table: (pattern, other name), see `rename`.
Names = Iterable[tuple[str, str]]

# Scalars that OpenAI stores as tensors beside the weights; they are not parameters.
_OPENAI_EXTRAS = ('input_resolution', 'context_length', 'vocab_size')


def _is_torchscript(path: Path) -> bool:
    """OpenAI publishes CLIP as TorchScript archives; torch.load(weights_only=True) refuses them."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any('/code/' in name for name in archive.namelist())


def read_tensors(path: str | Path) -> object:
    """Returns the content of a weight file: tensors, or dicts and lists of them.

    Args:
        path: a ``.safetensors`` file, a file written by ``torch.save``, or a TorchScript archive.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: the file is truncated, not a weight file, or holds objects that only an unsafe
            load would restore.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'weight file {path} does not exist; check the path')
    try:
        if path.suffix == '.safetensors':
            from safetensors.torch import load_file

            return load_file(path)
        if _is_torchscript(path):
            return dict(torch.jit.load(path, map_location='cpu').state_dict())
        return torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f'{path} cannot be read as weights without executing code in it ({reason}); give a '
            'safetensors file or one whose torch.save content is tensors only'
        ) from error


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Returns the flat ``name -> tensor`` mapping of a weight file.

    Unwraps ``{'state_dict': ...}`` and strips the ``module.`` prefix of data-parallel training.

    Args:
        path: see :func:`read_tensors`.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: the file holds no state dict, or weights that are NaN or infinite.
    """
    content = read_tensors(path)
    if isinstance(content, dict) and isinstance(content.get('state_dict'), dict):
        content = content['state_dict']
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise UserError(f'{path} holds no state dict (name -> tensor); give a model checkpoint')
    state = {
        (key[len('module.') :] if key.startswith('module.') else key): value
        for key, value in content.items()
        if key not in _OPENAI_EXTRAS
    }
    check_finite(state, path)
    return state


def check_finite(state: dict[str, Tensor], origin: object) -> None:
    """Stops on NaN or infinite weights: they would give masks without meaning, silently.

    Args:
        state: tensors by name.
        origin: where they come from, for the message.

    Raises:
        UserError: names the first such tensor.
    """
    for name, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise UserError(
                f"weights from {origin} hold NaN or infinite values in '{name}'; the file is "
                'damaged or its training diverged, get it again'
            )


def rename(key: str, names: Names) -> str | None:
    """The key's other name, or None where the table has none.

    Args:
        key: a parameter's name.
        names: (pattern, other name), the first that fits counts. ``{}`` stands for a number and
            ``*`` for the rest; both stay as they are.

    Example:
        >>> rename('layers.3.norm1.bias', [('layers.{}.norm1.*', 'stages.{}.first.*')])
        'stages.3.first.bias'
    """
    for source, target in names:
        pattern = re.escape(source).replace(r'\{\}', r'(\d+)').replace(r'\*', r'(.+)')
        match = re.fullmatch(pattern, key)
        if match:
            return _filled(target, iter(match.groups()))
    return None


def _filled(target: str, parts: Iterator[str]) -> str:
    return re.sub(r'\{\}|\*', lambda _: next(parts), target)


def inverse(names: Names) -> list[tuple[str, str]]:
    """The table for the way back."""
    return [(target, source) for source, target in names]


def describe_mismatch(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """How two sets of named tensors differ, in words; empty if names and shapes are the same.

    Args:
        own: what a module has.
        given: what a file offers.

    Example:
        >>> describe_mismatch({'a': torch.zeros(2)}, {'b': torch.zeros(2)})
        '1 missing (a); 1 unexpected (b)'
    """
    missing = [name for name in own if name not in given]
    unexpected = [name for name in given if name not in own]
    shapes = [
        f'{name} is {tuple(given[name].shape)}, wanted {tuple(own[name].shape)}'
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    return '; '.join(
        f'{len(names)} {kind} ({", ".join(names[:3])}{", ..." if len(names) > 3 else ""})'
        for kind, names in (
            ('missing', missing),
            ('unexpected', unexpected),
            ('of another shape', shapes),
        )
        if names
    )


def load_strictly(module: nn.Module, state: dict[str, Tensor], origin: object) -> None:
    """Loads a state dict and stops at any key or shape that does not match.

    Args:
        module: receives the weights.
        state: tensors by name.
        origin: where they come from, for the message.

    Raises:
        UserError: names the first missing, unexpected and misshapen keys.
    """
    problems = describe_mismatch(module.state_dict(), state)
    if problems:
        raise UserError(
            f'weights from {origin} do not fit this model: {problems}; '
            'check that the model name in the config is the one they were made with'
        )
    module.load_state_dict(state, strict=True)


def drop_frozen(module: nn.Module, state: dict, prefix: str, metadata: Any) -> None:
    """Frozen towers load in the constructor; a checkpoint holds only what was trained."""
    prefixes = cast('tuple[str, ...]', module.frozen_prefixes)  # what has this hook names them
    for key in list(state):
        if key.startswith(tuple(prefix + name for name in prefixes)):
            del state[key]
