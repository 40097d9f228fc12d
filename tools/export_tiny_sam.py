"""Store a trained tiny SAM as it ships: python tools/export_tiny_sam.py CHECKPOINT OUT.

CHECKPOINT is one that tools/train.py wrote for a PromptableMasks model; OUT.safetensors and
OUT.json are written, e.g. OUT = ovseg/weights/tiny_sam_scenes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from ovseg.encoders.tiny_sam import save_tiny_sam
from ovseg.engine.checkpoint import load_checkpoint_strict
from ovseg.errors import UserError, run_cli
from ovseg.registry import MODELS
from ovseg.scenes import PromptableMasks


def main(argv: Sequence[str] | None = None) -> int:
    """Exports and says how large the file is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument(
        '--config', default='configs/tiny_sam/tiny_sam_scenes.py', help='default: %(default)s'
    )
    parser.add_argument(
        '--images', type=int, required=True, help='pictures seen in all rounds, for the record'
    )
    args = parser.parse_args(argv)
    model = MODELS.build(Config.fromfile(args.config).model)
    if not isinstance(model, PromptableMasks):
        raise UserError(f'{args.config} is no config of a PromptableMasks model')
    load_checkpoint_strict(model, args.checkpoint)
    mean, std = (
        tuple(round(value, 3) for value in pixels.flatten().tolist())
        for pixels in (model.sam.pixel_mean, model.sam.pixel_std)
    )
    size = save_tiny_sam(
        args.out,
        model.sam.state_dict(),
        model.architecture,
        mean,
        std,
        {
            'config': Path(args.config).name,
            'images': args.images,
            'supervision': 'masks of objects and regions of Scenes, without names',
        },
    )
    print(f'{args.out.with_suffix(".safetensors")}: {size / 1e6:.2f} MB')
    return 0


if __name__ == '__main__':
    sys.exit(run_cli(main))
