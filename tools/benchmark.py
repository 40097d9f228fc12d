"""Time and memory of a model, as ``ovseg benchmark`` does: see --help."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ovseg.cli import benchmark
from ovseg.errors import run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns 0, or 2 if nothing could be measured."""
    return run_cli(lambda: benchmark.main(argv, 'python tools/benchmark.py'))


if __name__ == '__main__':
    sys.exit(main())
