"""How many products of exemplars and patches exist at once.

There are 20 exemplars a class and more, and thousands of patches: all products together would grow
as classes x pixels do.
"""

from __future__ import annotations

# 16 MiB of float32.
PRODUCTS_AT_ONCE = 1 << 22


def at_once(others: int) -> int:
    """How many exemplars may meet so many patches at a time, or the other way round; 1 at least.

    Args:
        others: those that each of them meets.

    Example:
        >>> at_once(2**20)
        4
    """
    return max(1, PRODUCTS_AT_ONCE // max(1, others))
