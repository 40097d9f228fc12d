"""Store a trained tiny DINO or FOUND as it ships: python tools/export_tiny_dino.py CHECKPOINT OUT.

CHECKPOINT is one that tools/train.py wrote for a SelfDistillation or a FoundTraining model;
OUT.safetensors and OUT.json are written, e.g. OUT = ovseg/weights/tiny_dino_scenes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from ovseg.encoders.tiny_dino import save_tiny_dino, save_tiny_found
from ovseg.engine.checkpoint import load_checkpoint_strict
from ovseg.errors import UserError, run_cli
from ovseg.registry import MODELS
from ovseg.scenes import FoundTraining, SelfDistillation


def main(argv: Sequence[str] | None = None) -> int:
    """Exports and says how large the file is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument(
        '--config', default='configs/tiny_dino/dino_scenes.py', help='default: %(default)s'
    )
    args = parser.parse_args(argv)
    config = Config.fromfile(args.config)
    model = MODELS.build(config.model)
    if not isinstance(model, SelfDistillation | FoundTraining):
        raise UserError(f'{args.config} is no config of a SelfDistillation or FoundTraining model')
    load_checkpoint_strict(model, args.checkpoint)
    origin = {
        'config': Path(args.config).name,
        'images': int(model.step) * config.train_dataloader.batch_size,
        'supervision': 'pictures of Scenes alone, no labels and no captions',
    }
    if isinstance(model, FoundTraining):
        size = save_tiny_found(args.out, model.found, model.dino_name, origin)
    else:
        size = save_tiny_dino(
            args.out,
            model.teacher['backbone'].state_dict(),
            model.architecture,
            tuple(model.mean.flatten().tolist()),
            tuple(model.std.flatten().tolist()),
            origin,
        )
    print(f'{args.out.with_suffix(".safetensors")}: {size / 1e6:.2f} MB')
    return 0


if __name__ == '__main__':
    sys.exit(run_cli(main))
