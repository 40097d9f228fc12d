"""Store CLIP-DINOiser's two layers: python tools/export_clip_dinoiser.py CHECKPOINT OUT.

CHECKPOINT is one that tools/train.py wrote for a CLIPDINOiser model, or the published last.pt.
OUT.pt gets the published format (epoch, model_state_dict), OUT.safetensors the flat names in
float16, as the embedded weights ship.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from ovseg.errors import UserError, run_cli
from ovseg.files import written_whole
from ovseg.weight_files import read_checkpoint, state_of

_PREFIX = 'guide.'
_LAYERS = ('bkg_decoder.bias', 'bkg_decoder.weight', 'obj_proj.bias', 'obj_proj.weight')


def main(argv: Sequence[str] | None = None) -> int:
    """Exports and says how large the file is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('out', type=Path, help='ends in .pt or .safetensors')
    args = parser.parse_args(argv)
    if args.out.suffix not in ('.pt', '.safetensors'):
        raise UserError(f'{args.out} must end in .pt or .safetensors')
    content = read_checkpoint(args.checkpoint)
    state = {
        name.removeprefix(_PREFIX): value.cpu()
        for name, value in state_of(content, args.checkpoint).items()
    }
    if sorted(state) != list(_LAYERS):
        raise UserError(
            f'{args.checkpoint} holds {", ".join(sorted(state)[:4])}, not the two layers of '
            f'CLIP-DINOiser ({", ".join(_LAYERS)})'
        )
    with written_whole(args.out) as temporary:
        if args.out.suffix == '.pt':
            # Upstream counts the epochs from 0.
            epoch = content.get('epoch', content.get('meta', {}).get('epoch', 1) - 1)
            torch.save({'epoch': epoch, 'model_state_dict': state}, temporary)
        else:
            save_file({name: value.half().contiguous() for name, value in state.items()}, temporary)
    print(f'{args.out}: {args.out.stat().st_size / 1e6:.2f} MB')
    return 0


if __name__ == '__main__':
    sys.exit(run_cli(main))
