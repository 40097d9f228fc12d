"""Write a trained MaskCLIP+ in the released format.

    python tools/export_maskclip_plus.py CONFIG CHECKPOINT OUT.pth

CHECKPOINT is one that tools/train.py wrote; OUT.pth has the keys of the released checkpoints, with
the frozen CLIP of the config's teacher.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from ovseg.apis.building import build_model
from ovseg.config_files import read_config
from ovseg.errors import UserError, run_cli
from ovseg.files import written_whole
from ovseg.segmentors import MaskCLIPPlusSegmentor


def main(argv: Sequence[str] | None = None) -> int:
    """Exports and says what was written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config')
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('out', type=Path)
    args = parser.parse_args(argv)
    config = read_config(args.config)
    if config.get('model', {}).get('type') != 'MaskCLIPPlusSegmentor':
        raise UserError(f'{args.config} is no config of a MaskCLIPPlusSegmentor')
    model = build_model(config, args.checkpoint)
    assert isinstance(model, MaskCLIPPlusSegmentor)
    state = model.to_published()
    meta = {'CLASSES': list(model.vocabulary.names), 'PALETTE': model.vocabulary.palette}
    with written_whole(args.out) as temporary:
        torch.save({'meta': meta, 'state_dict': state}, temporary)
    print(f'{args.out}: {len(state)} tensors, {args.out.stat().st_size / 1e6:.1f} MB')
    return 0


if __name__ == '__main__':
    sys.exit(run_cli(main))
