"""Make what a data set lacks and check all of it, as ``ovseg prepare`` does: see --help."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ovseg.cli import prepare
from ovseg.errors import run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Does what the words say and returns the exit code."""
    return prepare.main(argv, 'python tools/prepare_data.py')


if __name__ == '__main__':
    sys.exit(run_cli(main))
