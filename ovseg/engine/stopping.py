"""Signals of schedulers: the training saves after the iteration that runs, and ends."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from torch.utils.data import DataLoader
from typing_extensions import Self

# What Slurm, PBS, Kubernetes and a lost terminal send before they kill.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


class TrainingStopped(SystemExit):
    """A training that was told to stop has saved its state; ends the process.

    Args:
        number: of the signal; the exit code is 128 more, as shells count.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


class StopSignals:
    """Remembers the first signal that asks to stop, while it is entered as a context."""

    def __init__(self) -> None:
        self.received = 0  # number of the signal; 0: none
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Takes the signals over; only the main thread can, elsewhere they keep their effect."""
        self.received = 0
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in SIGNALS:
            # nohup lets a process ignore a lost terminal, and it shall.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        """Gives the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or number


def keep_workers(loader: DataLoader) -> None:
    """Lets a loader's processes live on when a scheduler signals all processes of a job.

    Otherwise the iteration that the main process wants to finish has no data. They end with the
    main process.

    Args:
        loader: changed in place, before it starts its processes.
    """
    if loader.num_workers:
        loader.worker_init_fn = _InitWorker(loader.worker_init_fn)
        # Before multiprocessing's own function, which sends one signal and waits for ever.
        atexit.unregister(_end_workers)
        atexit.register(_end_workers)


def _end_workers() -> None:
    """Ends loaders' processes that are left when this one ends; all of them are daemons."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would report them as lost
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()


class _InitWorker:
    """A data loader's ``worker_init_fn`` that sets signals, too; can be sent to a process."""

    def __init__(self, then: Callable[[int], None] | None) -> None:
        self._then = then

    def __call__(self, worker: int) -> None:
        signal.signal(signal.SIGTERM, _SecondSignal())
        for number in SIGNALS[1:]:
            signal.signal(number, signal.SIG_IGN)
        if self._then is not None:
            self._then(worker)


class _SecondSignal:
    """A handler that ends the process at the second signal: the first is the scheduler's."""

    def __init__(self) -> None:
        self._parent = os.getppid()
        self._count = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count > 1 or os.getppid() != self._parent:
            os._exit(0)
