r"""Write a CLIP adapted to masked regions in the formats of OVSeg.

    python tools/export_ovseg_clip.py CONFIG CHECKPOINT OUT.pt
    python tools/export_ovseg_clip.py CONFIG CHECKPOINT OUT.pth --into OVSEG.pth

CHECKPOINT is one that tools/train.py wrote. CONFIG names the CLIP that it was trained from: use the
one that lies in the training's work folder, which has the options of the command line in it, too.
The first form writes the whole CLIP as OVSeg's fork of open_clip saves it. The second one copies
OVSEG.pth with this CLIP in place of its own: with mask prompts if they were tuned, else with those
that OVSEG.pth has. The third one writes the image tower, all that is not as it was, in half
precision. `model.adapted=OUT` loads the first and the third, as it loads CHECKPOINT itself.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor

from ovseg.encoders.adapted_clip import PROMPTS, image_tower
from ovseg.encoders.embedded import write_weights
from ovseg.engine.checkpoint import load_state_strict
from ovseg.engine.launch import find_config
from ovseg.errors import UserError, run_cli
from ovseg.files import written_whole
from ovseg.registry import MODELS
from ovseg.training import MaskAdaptation
from ovseg.weight_files import describe_mismatch, read_checkpoint, state_of

_INSIDE = 'clip_adapter.clip_model.'


def open_clip_file(state: dict[str, Tensor], name: str, epoch: int) -> dict[str, Any]:
    """The content of a checkpoint as OVSeg's fork of open_clip saves it.

    Args:
        state: the whole CLIP under OpenAI's names.
        name: what to call it.
        epoch: rounds of training.
    """
    prefixed = {f'module.{key}': value for key, value in state.items()}
    return {'epoch': epoch, 'name': name, 'state_dict': prefixed}


def put_into(ovseg: dict[str, Any], state: dict[str, Tensor], origin: object) -> None:
    """Replaces the CLIP of an OVSeg checkpoint.

    Args:
        ovseg: content of the checkpoint; its state dict is changed in place, so that it keeps the
            version that detectron2 looks for.
        state: the whole CLIP under OpenAI's names, with mask prompts or without.
        origin: of the checkpoint, for messages.

    Raises:
        UserError: no OVSeg checkpoint, or one with another CLIP.
    """
    model = ovseg.get('model')
    if not isinstance(model, MutableMapping):
        raise UserError(f"{origin} has no 'model'; give a checkpoint of OVSeg, as released")
    own = {
        key.removeprefix(_INSIDE): value for key, value in model.items() if key.startswith(_INSIDE)
    }
    # A checkpoint of the baseline has no prompts yet.
    compared = {key: value for key, value in own.items() if key != PROMPTS or key in state}
    given = {key: value for key, value in state.items() if key != PROMPTS or key in own}
    if problems := describe_mismatch(compared, given):
        raise UserError(f'the CLIP in {origin} is another one: {problems}; check that both are one')
    for key, value in state.items():
        model[_INSIDE + key] = value


def main(argv: Sequence[str] | None = None) -> int:
    """Exports and says what was written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config')
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--into', type=Path, help='OVSeg checkpoint whose CLIP is replaced')
    args = parser.parse_args(argv)
    if args.into is not None and args.out.suffix == '.safetensors':
        raise UserError('--into writes a checkpoint of OVSeg: call OUT .pth')
    config = Config.fromfile(str(find_config(args.config)))
    if config.get('model', {}).get('type') != 'MaskAdaptation':
        raise UserError(f'{args.config} is no config of a MaskAdaptation')
    with DefaultScope.overwrite_default_scope('ovseg'):
        model = MODELS.build(config.model)
    assert isinstance(model, MaskAdaptation)
    content = read_checkpoint(args.checkpoint)
    load_state_strict(model, state_of(content, args.checkpoint), args.checkpoint)
    state = model.to_published()
    prompts = 'with' if PROMPTS in state else 'without'
    if args.out.suffix == '.safetensors':
        tower = image_tower(state)
        size = write_weights(args.out, tower)
        print(f'{args.out}: image tower, {prompts} mask prompts, {size / 1e6:.1f} MB')
        return 0
    if args.into is None:
        epoch = int(content.get('meta', {}).get('epoch', 0))
        exported = open_clip_file(state, Path(args.config).stem, epoch)
    else:
        exported = read_checkpoint(args.into)
        put_into(exported, state, args.into)
    with written_whole(args.out) as temporary:
        torch.save(exported, temporary)
    print(f'{args.out}: CLIP of {len(state)} tensors, {prompts} mask prompts')
    return 0


if __name__ == '__main__':
    sys.exit(run_cli(main))
