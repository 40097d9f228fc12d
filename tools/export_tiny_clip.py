"""Store a trained tiny CLIP as it ships: python tools/export_tiny_clip.py CHECKPOINT OUT.

CHECKPOINT is one that tools/train.py wrote for a CLIPContrast model; OUT.safetensors and OUT.json
are written, e.g. OUT = ovseg/weights/tiny_clip_scenes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from ovseg.encoders.tiny import save_tiny_clip
from ovseg.engine.checkpoint import load_checkpoint_strict
from ovseg.errors import UserError, run_cli
from ovseg.registry import MODELS
from ovseg.scenes import CLIPContrast


def main(argv: Sequence[str] | None = None) -> int:
    """Exports and says how large the file is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument(
        '--config', default='configs/tiny_clip/clip_scenes.py', help='default: %(default)s'
    )
    parser.add_argument(
        '--images', type=int, help="pictures seen in all rounds; the config's own by default"
    )
    args = parser.parse_args(argv)
    config = Config.fromfile(args.config)
    model = MODELS.build(config.model)
    if not isinstance(model, CLIPContrast) or model.token_ids is None:
        raise UserError(f'{args.config} is no config of a CLIPContrast model with words')
    load_checkpoint_strict(model, args.checkpoint)
    images = args.images or config.train_cfg.max_iters * config.train_dataloader.batch_size
    size = save_tiny_clip(
        args.out,
        model.clip.state_dict(),
        model.architecture,
        model.token_ids,
        tuple(model.mean.flatten().tolist()),
        tuple(model.std.flatten().tolist()),
        origin={
            'config': Path(args.config).name,
            'images': images,
            'supervision': 'image-caption pairs of Scenes, no pixel labels',
        },
    )
    print(f'{args.out.with_suffix(".safetensors")}: {size / 1e6:.2f} MB')
    return 0


if __name__ == '__main__':
    sys.exit(run_cli(main))
