"""How much memory a step may take at once, and what fits into it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_MEBIBYTE = 2**20


@dataclass(frozen=True)
class MemoryBudget:
    """What may be held at once beside inputs and results.

    Attributes:
        megabytes: 2^20 bytes each.

    Example:
        >>> MemoryBudget(1).at_once(2**18)
        4
        >>> list(MemoryBudget(1).strips(5, 2**19))
        [(0, 2), (2, 4), (4, 5)]
    """

    megabytes: float

    @property
    def bytes(self) -> float:
        """The same in bytes."""
        return self.megabytes * _MEBIBYTE

    def share(self, part: float) -> MemoryBudget:
        """A part of it, in [0, 1]."""
        return MemoryBudget(self.megabytes * part)

    def at_once(self, bytes_each: float) -> int:
        """How many things of so many bytes fit, at least one."""
        return max(1, int(self.bytes / max(bytes_each, 1)))

    def strips(self, height: int, bytes_a_row: float) -> Iterator[tuple[int, int]]:
        """``(start, stop)`` of strips that cover ``height`` rows, from top to bottom.

        Args:
            height: in rows.
            bytes_a_row: what a row of a strip costs, temporaries included.
        """
        rows = self.at_once(bytes_a_row)
        for start in range(0, height, rows):
            yield start, min(start + rows, height)
