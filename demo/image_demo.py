"""Masks of what you name, as ``ovseg segment`` makes them: see --help."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ovseg.cli import segment
from ovseg.errors import run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; returns 0 (all done), 1 (some of many images failed) or 2 (nothing done)."""
    return run_cli(lambda: segment.main(argv, 'python demo/image_demo.py'))


if __name__ == '__main__':
    sys.exit(main())
