"""Locks in objects that are copied and sent to other processes."""

from __future__ import annotations

import threading
from types import TracebackType


class Lock:
    """A re-entrant lock; a copy of it, deep or pickled, is a free lock of its own.

    Example:
        >>> from copy import deepcopy
        >>> lock = Lock()
        >>> with lock, deepcopy(lock), lock:
        ...     print('inside')
        inside
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[Lock], tuple[()]]:
        return Lock, ()
