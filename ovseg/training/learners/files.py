"""Files of light trainings as their originals write and read them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ovseg.errors import UserError
from ovseg.files import written_whole
from ovseg.weight_files import read_checkpoint

ADAPTER = 'adapter.'


def read_contexts(path: str | Path) -> tuple[Tensor, int]:
    """Learned contexts of a file of CoOp's, ``prompt_learner/model.pth.tar-EPOCH``.

    Args:
        path: the file.

    Returns:
        (n, W) contexts of all classes or (C, n, W), and the epoch they are of.

    Raises:
        UserError: there are none in it.
    """
    content = read_checkpoint(path)
    state = content.get('state_dict', content)
    contexts = state.get('ctx') if isinstance(state, Mapping) else None
    if not isinstance(contexts, Tensor) or contexts.ndim not in (2, 3):
        raise UserError(
            f"{path} holds no learned contexts (state_dict['ctx'], of 2 or 3 dimensions); give "
            "CoOp's prompt_learner/model.pth.tar-EPOCH"
        )
    return contexts.float(), int(content.get('epoch', 0))


def write_contexts(path: str | Path, contexts: Tensor, embedded: Tensor, epoch: int) -> None:
    """Writes contexts as CoOp does.

    Args:
        path: the file.
        contexts: (n, W) or (C, n, W).
        embedded: (C, L, W), sentences of the classes in position ``'end'``, of which start and
            rest stand in the file, too.
        epoch: of the training.
    """
    count = contexts.shape[-2]
    state = {
        'ctx': contexts,
        'token_prefix': embedded[:, :1],
        'token_suffix': embedded[:, 1 + count :],
    }
    _write(path, {'state_dict': _plain(state), 'epoch': epoch})


def adapter_state(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Weights of an adapter by the names that it has by itself.

    Args:
        content: of a file of CLIP-Adapter or VDT-Adapter, in which other weights may stand, too.

    Raises:
        UserError: there is no adapter in it.
    """
    state = content.get('state_dict', content)
    named = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    own = {key.removeprefix(ADAPTER): v for key, v in named.items() if key.startswith(ADAPTER)}
    # VDT-Adapter registers the adapter alone, so that its files have no prefix.
    own = own or {key: v for key, v in named.items() if key.startswith(('fc.', 'attn.'))}
    if not own:
        raise UserError(
            "the file holds no adapter: no key begins with 'adapter.', 'fc.' or 'attn.'; give a "
            'checkpoint of CLIP-Adapter or VDT-Adapter'
        )
    return own


def write_adapter(path: str | Path, state: Mapping[str, Tensor], epoch: int) -> None:
    """Writes an adapter as the released code of CLIP-Adapter does.

    Args:
        path: the file.
        state: of the module.
        epoch: of the training.
    """
    named = {f'{ADAPTER}{key}': value for key, value in state.items()}
    _write(path, {'state_dict': _plain(named), 'epoch': epoch})


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().cpu().clone() for key, value in state.items()}


def _write(path: str | Path, content: dict[str, Any]) -> None:
    with written_whole(path) as temporary, temporary.open('wb') as file:
        torch.save(content, file)
