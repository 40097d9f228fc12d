"""Where a segmentor's time and memory go."""

from __future__ import annotations

import ctypes
import os
import resource
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any

import torch

from ovseg.segmentors.training_free import TrainingFreeSegmentor
from ovseg.segmentors.trident import Trident

_STATM = Path('/proc/self/statm')
_SECONDS_BETWEEN_SAMPLES = 0.002


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

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its seconds added to ``name`` at each call."""

        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.measure(name):
                return function(*args, **kwargs)

        return timed

    def watch(self, model: TrainingFreeSegmentor) -> None:
        """Time the stages of a model from now on, through its public methods."""
        model.encode_images = self.wrap('encoder', model.encode_images)
        model.score = self.wrap('score', model.score)
        model.segment_encoding = self.wrap('label', model.segment_encoding)
        model.refiners = [
            _TimedPart(refiner, self, 'refiners', '__call__') for refiner in model.refiners
        ]
        if model.pixel_refiner is not None:
            model.pixel_refiner = _TimedPart(
                model.pixel_refiner, self, 'pixel refiner', 'prepare', '__call__'
            )
        if isinstance(model, Trident):
            model.correlation = _TimedPart(model.correlation, self, 'correlation', 'rows')
            if model.refinement is not None:
                model.refinement = _TimedPart(model.refinement, self, 'refinement', '__call__')

    def seconds(self, name: str) -> float:
        """Seconds of what was measured under ``name``."""
        return self._seconds[name]

    def stages(self) -> dict[str, float]:
        """Seconds of each stage of a watched model, in order; nested ones are taken out."""
        seconds = self._seconds
        stages = {
            'encoder': seconds['encoder'] - seconds['correlation'],
            'SAM correlation': seconds['correlation'],
            'scores': seconds['score'] - seconds['refiners'],
            'refiners': seconds['refiners'],
            'pixel refiner': seconds['pixel refiner'],
            'SAM refinement': seconds['refinement'],
            'upsample + argmax': seconds['label']
            - sum(seconds[part] for part in ('score', 'pixel refiner', 'refinement')),
        }
        # Only Trident has these.
        return {name: took for name, took in stages.items() if took or 'SAM' not in name}

    def _now(self) -> float:
        if self._device.type == 'cuda':
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


class _TimedPart:
    """A part of a model some of whose methods are timed; all else is the part's own."""

    def __init__(self, part: Any, clock: StageClock, stage: str, *methods: str) -> None:
        self._part = part
        self._timed = {name: clock.wrap(stage, getattr(part, name)) for name in methods}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._timed['__call__'](*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return self._timed.get(name) or getattr(self._part, name)


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
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if os.uname().sysname == 'Darwin' else peak * 1024
