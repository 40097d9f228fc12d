"""Shims that let the MM packages run where their compiled parts are missing."""


def install() -> None:
    """Install the shims."""
