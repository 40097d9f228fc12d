"""Numbers printed with as many digits as typing them back needs, and no more."""

from __future__ import annotations


def exact(value: float) -> str:
    """The shortest digits that are read back as the same number; a whole one has no point.

    Args:
        value: a limit, a range's end: whatever an option takes again.

    Example:
        >>> exact(0.1), exact(-0.22713472), exact(1e-9), exact(10.0)
        ('0.1', '-0.22713472', '1e-09', '10')
    """
    return repr(value).removesuffix('.0')


def shortest(value: float) -> float:
    """Of the numbers that float32 takes for one, that of the fewest digits.

    Args:
        value: what is compared in float32.

    Example:
        >>> exact(1 / 3), exact(shortest(1 / 3))
        ('0.3333333333333333', '0.33333334')
    """
    import numpy as np  # command lines read words before they wait for it

    return float(str(np.float32(value)))
