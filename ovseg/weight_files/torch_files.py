"""Files of torch.save, by torch's reader of tensors that calls nothing else; plain records."""

from __future__ import annotations

import argparse
import pickle
import threading
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer

_NUMPY_SCALARS = ('?', 'b', 'B', 'h', 'H', 'i', 'I', 'l', 'L', 'q', 'Q', 'e', 'f', 'd')
# What torch.load may call is one list for the whole process.
_lock = threading.Lock()


def read_torch_file(path: Path, map_location: Any) -> Any:
    """The content of a file of ``torch.save``.

    Args:
        path: of a regular file.
        map_location: as in ``torch.load``.

    Raises:
        Exception: torch's own, where the file is damaged or asks for something else than tensors,
            plain data, a training's arguments and a Runner's records.
    """
    with (
        _lock,
        warnings.catch_warnings(),
        torch.serialization.safe_globals(_harmless_globals()),
    ):
        # Files of other writers; what cannot be read is refused with a sentence of ours.
        warnings.filterwarnings('ignore', 'Detected pickle protocol')
        return torch.load(path, map_location=map_location, weights_only=True, mmap=False)


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
    """What trainings put into their checkpoints beside tensors and plain data.

    NumPy 2 moved its core, so a file may name either place, whichever NumPy reads it.
    """
    core = import_module('numpy.core' if np.__version__.startswith('1.') else 'numpy._core')
    rebuilders = ('_reconstruct', 'scalar')
    dtypes = {type(np.dtype(code)) for code in _NUMPY_SCALARS}
    return [
        argparse.Namespace,  # what a training was called with; plain data inside
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
