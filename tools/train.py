"""Train a model, as ``ovseg train`` does: see --help."""

from __future__ import annotations

from collections.abc import Sequence

from ovseg.cli import train
from ovseg.errors import run_cli
from ovseg.process_end import leave


def main(argv: Sequence[str] | None = None) -> int:
    """Does what the words say and returns the exit code."""
    return train.main(argv, 'python tools/train.py')


if __name__ == '__main__':
    leave(run_cli(main))
