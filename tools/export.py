"""Write what a training made as a file for others, as ``ovseg export`` does: see --help."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ovseg.cli import export
from ovseg.errors import run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Does what the words say and returns the exit code."""
    return export.main(argv, 'python tools/export.py')


if __name__ == '__main__':
    sys.exit(run_cli(main))
