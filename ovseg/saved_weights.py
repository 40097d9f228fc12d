"""All weights of a saved model: those of frozen networks too, which checkpoints leave out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ovseg.errors import UserError
from ovseg.saved_config import WEIGHTS
from ovseg.weight_files import read_state_dict
from ovseg.weight_files.loading import check_finite, describe_mismatch


def weights_of_saved(config: Mapping[str, Any]) -> Path | None:
    """The file of weights beside the config of a saved model; None for any other config.

    Args:
        config: as :func:`~ovseg.config_files.read_config` read it.
    """
    if config.get('saved') is None:
        return None
    return Path(str(getattr(config, 'filename', ''))).parent / WEIGHTS


def all_weights(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer of a model by its first name, those of frozen towers too.

    Buffers that torch does not save are made by the settings and left out.

    Args:
        model: any.
    """
    made = {
        f'{place}.{name}' if place else name
        for place, part in model.named_modules()
        for name in part._non_persistent_buffers_set
    }
    weights = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: value.detach() for name, value in weights.items() if name not in made}


def load_all_weights(model: nn.Module, file: Path) -> None:
    """Puts every parameter and buffer of a file into a model.

    Args:
        model: of the settings with which the file was written.
        file: a safetensors file of :func:`all_weights`.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is damaged, does not fit, or holds NaN.
    """
    state, own = read_state_dict(file), all_weights(model)
    problems = describe_mismatch(own, state)
    if problems:
        raise UserError(f'weights from {file} do not fit this model: {problems}; get it again')
    check_finite(state, file)
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(state[name])
