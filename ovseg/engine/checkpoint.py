"""Checkpoints of trainings: mmengine reads them safely, models take no key unexplained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import torch
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import checkpoint as mmengine_checkpoint
from torch import Tensor, nn

from ovseg.errors import UserError
from ovseg.weight_files import check_finite, describe_mismatch, read_checkpoint, state_of
from ovseg.weight_files.reading import MapLocation


@runtime_checkable
class ReadsPublished(Protocol):
    """A model whose published files have other keys than its own."""

    def from_published(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The model's own names for the tensors of a published file."""
        ...


def install_safe_loading() -> None:
    """Lets everything in this process that loads checkpoints through mmengine load them safely.

    mmengine's own loaders fall back on executing the pickle; they are also behind
    ``init_cfg=dict(type='Pretrained', ...)`` of any model. Called by the tools, not by importing
    ovseg.
    """

    def read(filename: str, map_location: Any = None, *_: Any, **__: Any) -> dict[str, Any]:
        content = read_checkpoint(filename, map_location)
        state = content.get('state_dict', content.get('model', content))
        if isinstance(state, Mapping):
            tensors = {name: one for name, one in state.items() if isinstance(one, Tensor)}
            check_finite(tensors, filename)
        return content

    loader = mmengine_checkpoint.CheckpointLoader
    loader.register_scheme('', read, force=True)
    # Weights that ship with ovseg have a safe reader of their own (`segmentors/mmseg_doors.py`).
    loader.register_scheme(('http://', 'https://'), read, force=True)
    # Schemes such as torchvision:// and open-mmlab:// look up a URL and call these.
    mmengine_checkpoint.load_from_http = read
    mmengine_checkpoint.load_from_local = read


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
        filename: see :func:`~ovseg.weight_files.read_checkpoint`.
        map_location: as in ``torch.load``.

    Returns:
        The content of the file.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: see :func:`~ovseg.weight_files.read_checkpoint`; or the weights do not fit,
            naming the first keys.
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
