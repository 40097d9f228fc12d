"""Train a model.

Examples::

    %(prog)s denseclip_fpn_tiny_scenes --work-dir work_dirs/mine
    %(prog)s mine.py --cfg-options train_dataloader.batch_size=4 --resume
    torchrun --nproc-per-node 8 -m ovseg train mine.py --launcher pytorch

Logs and checkpoints lie in the work folder. A training that was stopped goes on with --resume.
"""

from __future__ import annotations

import argparse
import os
from contextlib import nullcontext
from typing import TYPE_CHECKING

from ovseg.cli.entry import main_of
from ovseg.cli.parsers import new_parser
from ovseg.errors import UserError, nearest
from ovseg.files import check_folder
from ovseg.input_files import check_named
from ovseg.run_arguments import add_common_arguments, check_amp, place_of_run

# Words are read, and refused, before torch is imported: the functions import what they need.
if TYPE_CHECKING:
    from mmengine.config import Config


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The command line.

    Args:
        prog: how it is called.
    """
    parser = new_parser(__doc__, prog)
    parser.add_argument('config', help='config file: a path, or its name below configs/')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='FILE',
        help='go on with the training in the work folder, or with the one that wrote FILE',
    )
    add_common_arguments(parser)
    return parser


def set_precision(config: Config, args: argparse.Namespace) -> None:
    """Lets the config train in the mixed precision that was asked for, its loss scale dynamic.

    Without a GPU ``auto`` is float32: mmengine has mixed precision there alone.

    Args:
        config: changed in place.
        args: the command line.

    Raises:
        UserError: no GPU, or one without the precision, or an optimizer wrapper of another kind.
    """
    import torch

    from ovseg.devices import need_gpu_for_amp
    from ovseg.engine.launch import asked_precision

    if not args.amp and args.precision == 'auto' and not torch.cuda.is_available():
        return
    if not args.amp and args.precision in ('bfloat16', 'float16'):
        need_gpu_for_amp(f'--precision {args.precision}')
    name = str(asked_precision(args)).removeprefix('torch.')
    if name == 'float32':
        return
    kind = config.optim_wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise UserError(
            "mixed precision replaces the optim_wrapper 'OptimWrapper', but the config has "
            f"'{kind}'"
        )
    config.optim_wrapper.type = 'AmpOptimWrapper'
    config.optim_wrapper.dtype = name
    config.optim_wrapper.setdefault('loss_scale', 'dynamic')


def check_optimizer(config: Config) -> None:
    """Stops at an optimizer that does not exist; mmengine fails on it without naming it.

    Args:
        config: with ``optim_wrapper``.

    Raises:
        UserError: names the nearest one.
    """
    from mmengine.registry import DefaultScope

    from ovseg.engine.config_parts import types_of
    from ovseg.registry import OPTIMIZERS

    kind = (config.optim_wrapper.get('optimizer') or {}).get('type')
    if isinstance(kind, str):
        with DefaultScope.overwrite_default_scope(config.get('default_scope', 'ovseg')):
            found = OPTIMIZERS.get(kind)
        if found is None:
            raise UserError(
                f"the config names the optimizer '{kind}', which does not exist."
                + nearest(kind, types_of(OPTIMIZERS))
            )


def set_resume(config: Config, resume: str | None) -> None:
    """Decides what the training starts from.

    Args:
        config: changed in place.
        resume: None for the config's own, ``'auto'`` for the newest checkpoint in the work folder
            (a fresh start if there is none), or a file.

    Raises:
        UserError: there are checkpoints, but none is intact.
    """
    from ovseg.engine.resuming import checkpoint_folder, latest_checkpoint

    if resume is None and config.get('resume') and not config.get('load_from'):
        resume = 'auto'
    if resume is None:
        return
    folder = checkpoint_folder(config)
    found = latest_checkpoint(folder) if resume == 'auto' else resume
    if found is None:
        print(f'no checkpoint in {folder}: the training starts from the beginning')
        config.resume = False
        return
    config.resume, config.load_from = True, str(found)


def run(args: argparse.Namespace) -> int:
    """Trains and returns the exit code.

    Args:
        args: of :func:`build_parser`.
    """
    place_of_run(args.config, args.on)
    check_named(args.resume)
    if args.work_dir is not None:
        check_folder(args.work_dir)
    check_amp(args)
    from ovseg.engine.crop_sizes import padding_notes
    from ovseg.engine.explain import explained
    from ovseg.engine.launch import (
        build_runner,
        device_of_run,
        load_config,
        need_parts,
        need_whole_validation,
    )
    from ovseg.engine.schedule import check_schedule
    from ovseg.engine.stopping import TrainingStopped
    from ovseg.engine.work_folder import held_folder
    from ovseg.tensor_cores import set_tf32

    config = load_config(args)
    need_parts(config, ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper'), 'train')
    need_whole_validation(config)
    set_precision(config, args)
    if args.tf32:  # without it torch's own switches stay, as for mmseg's trainings
        set_tf32(True, device_of_run())
    if config.optim_wrapper.get('type') == 'AmpOptimWrapper':
        from ovseg.devices import need_gpu_for_amp

        need_gpu_for_amp("optim_wrapper.type='AmpOptimWrapper'")
    check_optimizer(config)
    notes = [*check_schedule(config), *padding_notes(config)]
    is_main = int(os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0'))) == 0
    with held_folder(config.work_dir) if is_main else nullcontext(), explained(config):
        set_resume(config, args.resume)
        for note in notes if is_main else []:
            print(f'note: {note}')
        try:
            build_runner(config).train()
        except TrainingStopped as stopped:
            return int(stopped.code or 0)
    return 0


main = main_of(build_parser, run)
