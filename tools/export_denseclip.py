"""Write a trained DenseCLIP without its text tower.

    python tools/export_denseclip.py CONFIG CHECKPOINT OUT.safetensors [--dtype float32]

What the text tower says about the classes does not depend on the image, so it is stored in its
place. OUT is for the same config with model.text_encoder=None, such as

    python tools/test.py CONFIG OUT.safetensors --cfg-options model.text_encoder=None
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.registry import DefaultScope
from torch import Tensor

from ovseg.config_files import read_config
from ovseg.encoders.embedded import write_weights
from ovseg.engine.checkpoint import load_checkpoint_strict
from ovseg.errors import UserError, run_cli
from ovseg.registry import MODELS
from ovseg.training.heads.pixel_text_matching import PixelTextMatching


def load_trained(config_name: str, checkpoint: str) -> PixelTextMatching:
    """The model of a config with the weights of a checkpoint.

    Args:
        config_name: path or name of a config.
        checkpoint: of its training, or a published one.

    Raises:
        UserError: the config has no DenseCLIP with a text tower.
    """
    settings = read_config(config_name).get('model') or {}
    with DefaultScope.overwrite_default_scope('ovseg'):
        kind = MODELS.get(str(settings.get('type')))
        if kind is None or not issubclass(kind, PixelTextMatching):
            raise UserError(f'{config_name} is no config of a DenseCLIP')
        if settings.get('text_encoder') is None:
            raise UserError(
                f'{config_name} has no model.text_encoder: its model has no text tower to leave out'
            )
        model = MODELS.build(settings)
    load_checkpoint_strict(model, checkpoint)
    return model.eval()


def megabytes(state: dict[str, Tensor]) -> float:
    """Size of tensors in 10^6 bytes."""
    return sum(value.numel() * value.element_size() for value in state.values()) / 1e6


def main(argv: Sequence[str] | None = None) -> int:
    """Exports and says what was written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('out', type=Path)
    parser.add_argument(
        '--dtype',
        choices=('float16', 'float32'),
        default='float16',
        help='of the weights in the file; they are computed with in float32 (default: %(default)s)',
    )
    args = parser.parse_args(argv)
    model = load_trained(args.config, args.checkpoint)
    state = model.state_without_text_encoder()
    size = write_weights(args.out, state, getattr(torch, args.dtype))
    print(
        f'{args.checkpoint}: {megabytes(model.state_dict()):.1f} MB of weights, of which the text '
        f'tower has {megabytes(model.text_encoder.state_dict()):.1f} MB\n'
        f'{args.out}: {len(state)} tensors in {args.dtype}, {size / 1e6:.1f} MB'
    )
    return 0


if __name__ == '__main__':
    sys.exit(run_cli(main))
