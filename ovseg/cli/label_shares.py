"""The part of a run that one of several processes does, as ``torchrun`` starts them.

The first process finds out what is left and tells the others, who wait for that alone. Each does
its part of these images and goes, whoever is still at work.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from ovseg.apis.stream import default_workers
from ovseg.errors import UserError
from ovseg.images.compact_plan import CompactPlan

if TYPE_CHECKING:
    from torch.distributed import Store

_VARIABLES = ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')
_LEFT, _TAKEN = 'ovseg label: left', 'ovseg label: taken'
# The first process may fetch weights before it can say what is left.
_PATIENCE = timedelta(hours=2)
_DIGEST = 16


class FirstFailed(Exception):
    """The first process could not begin, and says why."""


@dataclass(frozen=True)
class Share:
    """Which of several processes this one is.

    Attributes:
        rank: its number, from 0.
        count: how many there are.
        local_rank: its number on this machine.
        local_count: how many there are on this machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @classmethod
    def of_environment(cls) -> Share:
        """As torchrun says it; one process alone where nobody says it."""
        said = os.environ
        if any(name not in said for name in _VARIABLES) or int(said['WORLD_SIZE']) < 2:
            return cls()
        return cls(
            int(said['RANK']),
            int(said['WORLD_SIZE']),
            int(said.get('LOCAL_RANK', '0')),
            int(said.get('LOCAL_WORLD_SIZE', '1')),
        )

    def __str__(self) -> str:
        return f'process {self.rank + 1} of {self.count}'

    @property
    def is_first(self) -> bool:
        """Whether it says what is left."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other process."""
        return self.count == 1

    def device(self, wanted: str | None) -> str | None:
        """The device of this process: of several on a machine, each has a GPU of its own.

        Args:
            wanted: on the command line; None for whatever there is.
        """
        if self.is_alone or wanted not in (None, 'cuda'):
            return wanted
        import torch

        if not torch.cuda.is_available():
            return wanted
        return f'cuda:{self.local_rank % torch.cuda.device_count()}'

    def workers(self, wanted: int | None) -> int:
        """The threads of this process: those on a machine share its cores.

        Args:
            wanted: on the command line; None for as many as there are cores.
        """
        return default_workers(self.local_count) if wanted is None else wanted

    def told(
        self, find: Callable[[], bytearray], plan: CompactPlan, together: bool = False
    ) -> array[int]:
        """The places of the images that this process is to do.

        Args:
            find: says by 1 or 0 whether each image is done; asked in the first process alone.
            plan: of all images.
            together: whether this process's images should follow each other, as rows that lie
                in one piece do; else each takes every N-th, so that large ones are shared out.

        Raises:
            FirstFailed: the first process could not begin.
            UserError: this process sees other images than the first one.
        """
        if self.is_first:
            left = ~np.array(find(), dtype=bool)
            if not self.is_alone:
                told = _digest(plan) + np.packbits(left).tobytes()
                self._store.set(_LEFT, told)  # type: ignore[arg-type]  # bytes are taken as they are
            return self._own(left, together)
        told = self._store.get(_LEFT)
        self._store.set(f'{_TAKEN} {self.rank}', '')
        if not told:
            raise FirstFailed
        if told[:_DIGEST] != _digest(plan):
            raise UserError(
                f'{self} sees other images than the first one: all machines must see the same '
                'folder under the same name, and nothing may be added to it meanwhile.'
            )
        bits = np.frombuffer(told[_DIGEST:], np.uint8)
        return self._own(np.unpackbits(bits, count=len(plan)).astype(bool), together)

    def tell_failure(self) -> None:
        """Let the others not wait for a first process that could not begin."""
        if self.is_first and not self.is_alone:
            self._store.set(_LEFT, '')
            self.let_go()

    def let_go(self) -> None:
        """Waits until all others have begun: the first process may be the one that tells them."""
        is_told_by_torchrun = os.environ.get('TORCHELASTIC_USE_AGENT_STORE') == str(True)
        if self.is_first and not self.is_alone and not is_told_by_torchrun:
            self._store.wait([f'{_TAKEN} {rank}' for rank in range(1, self.count)], _PATIENCE)

    def _own(self, left: np.ndarray, together: bool) -> array[int]:
        places = np.flatnonzero(left).astype(np.int64)
        if together:
            own = np.array_split(places, self.count)[self.rank]
        else:
            own = places[self.rank :: self.count]
        return array('q', own.tobytes())

    @cached_property
    def _store(self) -> Store:
        from torch.distributed import rendezvous

        # After a restart by torchrun it is another one.
        return next(iter(rendezvous('env://', timeout=_PATIENCE)))[0]


def _digest(plan: CompactPlan) -> bytes:
    """What two processes share that see the same images."""
    digest = blake2b(digest_size=_DIGEST)
    for output in plan:
        digest.update(os.fsencode(os.path.abspath(output.image)) + b'\0')
    return digest.digest()
