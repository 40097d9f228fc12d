"""Named stages of the work on an image, for those who want to know where the time goes.

Code says ``with stage('scores'): ...``. torch's profiler shows the names; whoever listens is told
when a stage begins and ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

from torch.profiler import record_function

Listener = Callable[[str], AbstractContextManager[None]]
_listener: ContextVar[Listener | None] = ContextVar('ovseg_stages', default=None)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Marks the block as a stage.

    Args:
        name: what the block does; stages may nest.
    """
    listener = _listener.get()
    with record_function(f'ovseg: {name}'), listener(name) if listener else nullcontext():
        yield


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Has a listener's context entered around each stage of the block, in this thread.

    Args:
        listener: name of a stage -> context manager.
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
