"""How far an encoder's output may be from the reference."""

from __future__ import annotations

from torch import Tensor

from parity.report import Tolerance


def of_largest(theirs: Tensor) -> Tolerance:
    """1e-5 of the largest absolute value."""
    return Tolerance(atol=1e-5 * theirs.abs().max().item())
