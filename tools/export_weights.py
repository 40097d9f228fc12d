"""Write the weights of a training's checkpoint alone, in half precision.

    python tools/export_weights.py work_dirs/NAME/iter_3000.pth NAME.safetensors [--dtype float32]

A checkpoint also holds the optimizer's state and records. OUT is for the same config.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from ovseg.encoders.embedded import write_weights
from ovseg.errors import run_cli
from ovseg.weight_files import read_state_dict


def main(argv: Sequence[str] | None = None) -> int:
    """Exports and says what was written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument(
        '--dtype',
        choices=('float16', 'float32'),
        default='float16',
        help='of the weights in the file; they are computed with in float32 (default: %(default)s)',
    )
    args = parser.parse_args(argv)
    state = read_state_dict(args.checkpoint)
    size = write_weights(args.out, state, getattr(torch, args.dtype))
    print(f'{args.out}: {len(state)} tensors in {args.dtype}, {size / 1e6:.1f} MB')
    return 0


if __name__ == '__main__':
    sys.exit(run_cli(main))
