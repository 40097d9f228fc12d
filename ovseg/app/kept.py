"""Things kept in bounded memory: those that were not asked for longest make room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from ovseg.locks import Lock

_Value = TypeVar('_Value')


class KeptWithin(Generic[_Value]):
    """Values by key, together no larger than a number of megabytes; for several threads.

    The value put last is kept however large it is: it is about to be used.

    Args:
        megabytes: how much all of them may take (10^6 bytes).

    Example:
        >>> kept = KeptWithin(2)
        >>> for name in 'abc':
        ...     kept.put(name, name.upper(), 1_000_000)
        >>> kept.get('a'), kept.get('c'), len(kept)
        (None, 'C', 2)
    """

    def __init__(self, megabytes: float) -> None:
        self._room = megabytes * 1e6
        self._values: OrderedDict[Hashable, tuple[_Value, int]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> _Value | None:
        """The value of a key, which is now the last asked for; None where there is none."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def put(self, key: Hashable, value: _Value, size: int) -> None:
        """Keeps a value.

        Args:
            key: what it is asked for by.
            value: what is kept.
            size: what it takes, in bytes.
        """
        with self._lock:
            self._values.pop(key, None)
            self._values[key] = value, size
            total = sum(each for _, each in self._values.values())
            while total > self._room and len(self._values) > 1:
                _, (_, freed) = self._values.popitem(last=False)
                total -= freed

    def drop(self, is_dropped: Callable[[Hashable], bool]) -> None:
        """Forgets the values of some keys.

        Args:
            is_dropped: says of a key whether its value goes.
        """
        with self._lock:
            for key in [key for key in self._values if is_dropped(key)]:
                del self._values[key]
