"""Masks of what you name, in an image or a folder of images: see --help."""

from __future__ import annotations

import sys

from ovseg.cli.segment import main

if __name__ == '__main__':
    sys.exit(main())
