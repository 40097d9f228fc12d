"""Where a segmentor's time and memory go."""

from __future__ import annotations

import ctypes
import os
import resource
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import torch

from ovseg.devices import wait_for
from ovseg.stages import listening

_STATM = Path('/proc/self/statm')
_SECONDS_BETWEEN_SAMPLES = 0.002
# What an empty stage takes at most.
_NOTHING = 1e-4


class StageClock:
    """Wall-clock seconds of named, possibly nested stages.

    Args:
        device: on a GPU, work is waited for before a clock is read.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def reset(self) -> None:
        """Forget all seconds."""
        self._seconds.clear()

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the seconds that the block takes to ``name``."""
        start = self._now()
        try:
            yield
        finally:
            self._seconds[name] += self._now() - start

    def seconds(self, name: str) -> float:
        """Seconds of what was measured under ``name``."""
        return self._seconds[name]

    def listening(self) -> AbstractContextManager[None]:
        """Measures the stages that the code of the block names (:mod:`ovseg.stages`)."""
        return listening(self.measure)

    def stages(self) -> dict[str, float]:
        """Seconds of each stage of segmenting, in order; nested ones are taken out."""
        seconds = self._seconds
        stages = {
            'encoder': seconds['encode'] - seconds['SAM correlation'],
            'SAM correlation': seconds['SAM correlation'],
            'scores': seconds['scores'] - seconds['refiners'],
            'refiners': seconds['refiners'],
            'upsample + argmax': seconds['decide'] - seconds['pixel refiner'],
            'pixel refiner': seconds['pixel refiner'],
            'SAM refinement': seconds['SAM refinement'],
            'regions': seconds['finish'] - seconds['SAM refinement'],
        }
        rare = ('SAM correlation', 'SAM refinement', 'regions')
        return {name: took for name, took in stages.items() if name not in rare or took > _NOTHING}

    def _now(self) -> float:
        wait_for(self._device)
        return time.perf_counter()


class MemoryPeak:
    """Highest memory use inside a block, above what was in use before it.

    On a GPU it is what torch's allocator counts, exactly. On the CPU it is the growth of the
    process's resident memory, sampled every 2 ms (Linux), or of its high-water mark (elsewhere).

    Args:
        device: whose memory.

    Attributes:
        bytes: the peak, after the block.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._running = threading.Event()
        self._highest = 0
        self.bytes = 0

    def __enter__(self) -> MemoryPeak:
        if self._device.type == 'cuda':
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
            return self
        _return_freed_memory()
        self._before = self._highest = resident_bytes()
        self._running.set()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._device.type == 'cuda':
            torch.cuda.synchronize(self._device)
            self._highest = torch.cuda.max_memory_allocated(self._device)
        else:
            self._running.clear()
            self._thread.join()
            self._highest = max(self._highest, resident_bytes())
        self.bytes = self._highest - self._before

    def _sample(self) -> None:
        while self._running.is_set():
            self._highest = max(self._highest, resident_bytes())
            time.sleep(_SECONDS_BETWEEN_SAMPLES)


def _return_freed_memory() -> None:
    """Make glibc give back what it holds in reserve, or new use would hide in it."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL('libc.so.6').malloc_trim(0)
        # Another C library has no such call: there the peak may come out too small.


def resident_bytes() -> int:
    """Memory of this process that is resident now (Linux), else the most that ever was."""
    if os.path.exists(_STATM):
        return int(_STATM.read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if os.uname().sysname == 'Darwin' else peak * 1024
