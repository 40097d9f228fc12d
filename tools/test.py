"""Evaluate a model, as ``ovseg test`` does: see --help."""

from __future__ import annotations

from collections.abc import Sequence

from ovseg.cli import test
from ovseg.errors import run_cli
from ovseg.process_end import leave


def main(argv: Sequence[str] | None = None) -> int:
    """Does what the words say and returns the exit code."""
    return test.main(argv, 'python tools/test.py')


if __name__ == '__main__':
    leave(run_cli(main))
