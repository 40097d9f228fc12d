"""Checkpoints: read without executing a pickle, loaded without an unexplained key."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import checkpoint as mmengine_checkpoint
from torch import Tensor, nn

from ovseg.downloads import fetch_url
from ovseg.encoders.embedded import WEIGHTS
from ovseg.errors import UserError, nearest
from ovseg.weight_files import describe_mismatch

# As torch.load takes it.
MapLocation: TypeAlias = str | torch.device | Callable[..., Any] | None

# Weights that ship with ovseg: ovseg://NAME.
_SHIPPED = 'ovseg://'
_WRAPPERS = ('state_dict', 'model_state_dict', 'model')
_NUMPY_SCALARS = ('?', 'b', 'B', 'h', 'H', 'i', 'I', 'l', 'L', 'q', 'Q', 'e', 'f', 'd')


@runtime_checkable
class ReadsPublished(Protocol):
    """A model whose published files have other keys than its own."""

    def from_published(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The model's own names for the tensors of a published file."""
        ...


def _history_statistic(owner: object, name: str) -> Callable:
    """Stands for ``getattr`` in a checkpoint: gives HistoryBuffer's own statistics only."""
    if owner is HistoryBuffer and name in ('min', 'max', 'mean', 'current'):
        return getattr(HistoryBuffer, name)
    raise pickle.UnpicklingError(f'the file asks for the attribute {name!r} of {owner!r}')


def _standing_for(path: str, function: Callable) -> Callable:
    """``function`` under the global name by which files ask for it."""

    def stand_in(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    stand_in.__module__, _, name = path.rpartition('.')
    stand_in.__name__ = stand_in.__qualname__ = name
    return stand_in


def _harmless_globals() -> list[Any]:
    """What a Runner puts into its checkpoints beside tensors and plain data.

    NumPy 2 moved its core, so a file may name either place, whichever NumPy reads it.
    """
    core = import_module('numpy.core' if np.__version__.startswith('1.') else 'numpy._core')
    rebuilders = ('_reconstruct', 'scalar')
    dtypes = {type(np.dtype(code)) for code in _NUMPY_SCALARS}
    return [
        HistoryBuffer,
        np.ndarray,
        np.dtype,
        *dtypes,
        _standing_for('builtins.getattr', _history_statistic),
        *(
            _standing_for(f'numpy.{place}.multiarray.{name}', getattr(core.multiarray, name))
            for place in ('core', '_core')
            for name in rebuilders
        ),
    ]


def read_checkpoint(filename: str | Path, map_location: MapLocation = 'cpu') -> dict[str, Any]:
    """The content of a checkpoint: tensors, numbers, text and a Runner's records.

    A file is never executed as a pickle. What an ordinary ``torch.load`` would have to call is
    refused, except the handful of harmless types that a Runner writes.

    Args:
        filename: a file (``.safetensors`` or written by ``torch.save``); an ``http(s)`` URL, which
            is fetched into torch's own cache first; or ``ovseg://NAME``, weights that ship with
            ovseg.
        map_location: as in ``torch.load``.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: no checkpoint, damaged, or one that would run code.
    """
    text = str(filename)
    if text.startswith(_SHIPPED):
        path = WEIGHTS / f'{text.removeprefix(_SHIPPED)}.safetensors'
    elif text.startswith(('http://', 'https://')):
        path = fetch_url(text)
    else:
        path = Path(text).expanduser()
    if not path.is_file():
        beside = [str(entry) for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise FileNotFoundError(
            f'checkpoint {path} does not exist; check the path.{nearest(str(path), beside)}'
        )
    try:
        content = _read(path, map_location)
    except Exception as error:
        raise UserError(
            f'{path} was not loaded, because it is damaged, no checkpoint, or would run code '
            f'({_cause(error)}); give a file of tensors and plain data (torch.save of a state '
            'dict, or safetensors)'
        ) from error
    if not isinstance(content, dict):
        raise UserError(f'{path} holds a {type(content).__name__}, not a checkpoint')
    return content


def _read(path: Path, map_location: Any) -> Any:
    if path.suffix == '.safetensors':
        from safetensors.torch import load_file

        return load_file(path, device=str(map_location or 'cpu'))
    with warnings.catch_warnings(), torch.serialization.safe_globals(_harmless_globals()):
        # Files of other writers; what cannot be read is refused with a sentence of ours.
        warnings.filterwarnings('ignore', 'Detected pickle protocol')
        return torch.load(path, map_location=map_location, weights_only=True)


def _cause(error: Exception) -> str:
    """Why torch refused a file, in a few words; its own text advises to load it unsafely."""
    is_wrapped = isinstance(error, pickle.UnpicklingError) and error.__context__ is not None
    text = str(error.__context__ if is_wrapped else error).strip()
    asked = re.search(r'(?:GLOBAL|Unsupported class) ([\w.]+)', text)
    if asked:
        return f'it asks for {asked[1]}'
    return re.split(r'\n|\. ', text)[0].rstrip('.')[:160] or type(error).__name__


def install_safe_loading() -> None:
    """Lets everything in this process that loads checkpoints through mmengine load them safely.

    mmengine's own loaders fall back on executing the pickle; they are also behind
    ``init_cfg=dict(type='Pretrained', ...)`` of any model. Called by the tools, not by importing
    ovseg.
    """

    def read(filename: str, map_location: Any = None, *_: Any, **__: Any) -> dict[str, Any]:
        return read_checkpoint(filename, map_location)

    loader = mmengine_checkpoint.CheckpointLoader
    loader.register_scheme('', read, force=True)
    loader.register_scheme(('http://', 'https://', _SHIPPED), read, force=True)
    # Schemes such as torchvision:// and open-mmlab:// look up a URL and call these.
    mmengine_checkpoint.load_from_http = read
    mmengine_checkpoint.load_from_local = read


def state_of(content: Mapping[str, Any], origin: object) -> dict[str, Tensor]:
    """The flat ``name -> tensor`` mapping of a checkpoint's content.

    Args:
        content: from :func:`read_checkpoint`; unwraps ``state_dict``, ``model_state_dict`` or
            detectron2's ``model`` and strips ``module.``.
        origin: named in errors.

    Raises:
        UserError: there are no weights in it, or NaN or infinite ones.
    """
    wrapped = (content.get(name) for name in _WRAPPERS)
    state = next((inner for inner in wrapped if isinstance(inner, Mapping)), content)
    is_state = isinstance(state, Mapping) and all(isinstance(v, Tensor) for v in state.values())
    if not is_state or not state:
        raise UserError(f'{origin} holds no weights; give a checkpoint with a state dict')
    for name, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise UserError(
                f"{origin} holds NaN or infinite values in '{name}'; the file is damaged or its "
                'training diverged, get it again'
            )
    return {name.removeprefix('module.'): value for name, value in state.items()}


def load_checkpoint_strict(
    model: nn.Module, filename: str | Path, map_location: MapLocation = 'cpu'
) -> dict[str, Any]:
    """Loads a checkpoint into a model and stops at any key that has no explanation.

    A model explains keys by three attributes. ``frozen_prefixes``: parts that it loads itself and
    that its checkpoints leave out; if a file has them all the same, they must equal the model's.
    ``checkpoint_ignore``: prefixes of keys in the file that it has no use for. ``from_published``:
    a method that renames the keys of its published files and passes its own as they are.

    Args:
        model: may be wrapped for data-parallel running or test-time augmentation.
        filename: see :func:`read_checkpoint`.
        map_location: as in ``torch.load``.

    Returns:
        The content of the file.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: see :func:`read_checkpoint`; or the weights do not fit, naming the first keys.
    """
    content = read_checkpoint(filename, map_location)
    load_state_strict(unwrap(model), state_of(content, filename), filename)
    return content


def unwrap(model: nn.Module) -> nn.Module:
    """The segmentor inside wrappers for data-parallel running and test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = cast('nn.Module', model.module)
    return model


def load_state_strict(model: nn.Module, state: Mapping[str, Tensor], origin: object) -> None:
    """Loads a state dict; see :func:`load_checkpoint_strict`.

    Args:
        model: unwrapped.
        state: tensors by name.
        origin: named in errors.

    Raises:
        UserError: the weights do not fit, naming the first keys.
    """
    if isinstance(model, ReadsPublished):
        state = model.from_published(state)
    frozen = tuple(getattr(model, 'frozen_prefixes', ()))
    ignored = tuple(getattr(model, 'checkpoint_ignore', ()))
    own = {name: value for name, value in model.state_dict().items() if not name.startswith(frozen)}
    given = {name: value for name, value in state.items() if not name.startswith(ignored)}
    changed = _changed_frozen(model, given, frozen, origin)
    # Batch norm counts its batches since torch 0.4.1; older files lack the count.
    wanted = {
        name: value
        for name, value in own.items()
        if name in given or not name.endswith('.num_batches_tracked')
    }
    offered = {
        name: value
        for name, value in given.items()
        if name in own or name in changed or not name.startswith(frozen)
    }
    problems = describe_mismatch(wanted, offered)
    if problems:
        raise UserError(
            f'the weights in {origin} do not fit {type(model).__name__}: {problems}; '
            'check that config and checkpoint belong together'
        )
    used = {name: value for name, value in given.items() if name in own}
    model.load_state_dict(used, strict=False)


def _changed_frozen(
    model: nn.Module, given: Mapping[str, Tensor], frozen: tuple[str, ...], origin: object
) -> list[str]:
    """Keys under ``frozen`` that the model does not have; raises where it has other values."""
    names = [name for name in given if name.startswith(frozen)]
    if not names:
        return []
    held: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    held.update(model.named_buffers(remove_duplicate=False))
    for name in names:
        if name in held and not torch.equal(given[name].to(held[name]), held[name]):
            raise UserError(
                f"{origin} holds other weights for the frozen part '{name}' than the config "
                'loads; name them in the config, where the rest of the model can follow them'
            )
    return [name for name in names if name not in held]
