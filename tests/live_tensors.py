"""What a computation holds at once, of all the tensors that it makes."""

from __future__ import annotations

import weakref
from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveTensors(TorchDispatchMode):
    """Bytes of the tensors that operations gave and that are not gone yet.

    What a kernel takes for itself while it runs is not seen.

    Attributes:
        peak: the most so far.
        now: at this moment.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = self.now = 0
        self._holders: Counter[int] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        # Storages of inputs are not ours, and views of them neither.
        known = {_place(leaf) for leaf in tree_leaves((args, kwargs)) if _is_tensor(leaf)}
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if _is_tensor(leaf):
                self._hold(leaf, known)
        return result

    def _hold(self, tensor: torch.Tensor, known: set[int]) -> None:
        place, size = _place(tensor), tensor.untyped_storage().nbytes()
        if not size or (place in known and not self._holders[place]):
            return
        if not self._holders[place]:
            self.now += size
            self.peak = max(self.peak, self.now)
        self._holders[place] += 1
        weakref.finalize(tensor, self._leave, place, size)

    def _leave(self, place: int, size: int) -> None:
        self._holders[place] -= 1
        if not self._holders[place]:
            self.now -= size


def _is_tensor(value: object) -> bool:
    return isinstance(value, torch.Tensor)


def _place(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
