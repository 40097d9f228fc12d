"""What tools/train.py and tools/test.py share: configs and the Runner."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.device import get_device

import ovseg.registry as registries
from ovseg.config_files import ConfigPlace, read_config
from ovseg.consoles import StandardErrorHandler, is_quiet
from ovseg.engine.checkpoint import install_safe_loading
from ovseg.engine.distributed import check_launcher
from ovseg.engine.options import apply_options
from ovseg.engine.runner import OVRunner
from ovseg.errors import UserError
from ovseg.images import follow_overrides
from ovseg.precision_choice import choose_precision
from ovseg.run_arguments import (
    LAUNCHERS,
    OptionsAction,
    add_common_arguments,
    check_amp,
    place_of_run,
)

__all__ = [
    'LAUNCHERS',
    'OptionsAction',
    'add_common_arguments',
    'asked_precision',
    'build_runner',
    'device_of_run',
    'load_config',
    'need_parts',
    'need_whole_validation',
]


def load_config(args: argparse.Namespace) -> Config:
    """The config that the command line asks for, its overrides applied.

    Args:
        args: ``config``, ``on``, ``cfg_options``, ``work_dir`` and ``launcher``, of the command
            line.

    Raises:
        FileNotFoundError: no such config; names the nearest one.
        UserError: the config cannot be read, has no settings for the data set of ``on``, or an
            override names nothing.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    check_launcher(args.launcher)
    place = place_of_run(args.config, args.on)
    config = read_config(place.path, place.on)
    follow_overrides(config, apply_options(config, args.cfg_options or {}))
    config.launcher = args.launcher
    if args.work_dir is not None:
        config.work_dir = args.work_dir
    elif config.get('work_dir') is None:
        on = config.get('on') if config.get('on_choices') else None
        config.work_dir = str(Path('work_dirs') / ConfigPlace(place.path, on).stem)
    return config


def build_runner(config: Config) -> OVRunner:
    """The Runner of a config; from here on this process loads checkpoints safely only.

    Args:
        config: complete.

    Raises:
        UserError: another ``runner_type`` that would load checkpoints in its own way.
    """
    install_safe_loading()
    name = config.get('runner_type', 'OVRunner')
    kind = registries.RUNNERS.get(name)
    if kind is None or not issubclass(kind, OVRunner):
        raise UserError(
            f"runner_type '{name}' is not supported: it would not load checkpoints strictly; "
            'derive it from ovseg.engine.OVRunner'
        )
    runner = kind.from_cfg(config)
    if is_quiet():
        runner.logger.addHandler(StandardErrorHandler())
    return runner


def asked_precision(args: argparse.Namespace) -> torch.dtype:
    """The precision that the command line asks for, on the device that will compute.

    Args:
        args: ``precision`` and ``amp``, which is its name of before for float16.

    Raises:
        UserError: the two contradict each other, or the device has no such precision.
    """
    check_amp(args)
    return choose_precision('float16' if args.amp else args.precision, device_of_run())


def device_of_run() -> torch.device:
    """Where mmengine's Runner computes, which chooses by itself."""
    return torch.device(get_device())


def need_whole_validation(config: Config) -> None:
    """Stops at a training that has some of a validation's parts and not the others.

    Args:
        config: to look into.

    Raises:
        UserError: names what is there and what is not.
    """
    parts = ('val_dataloader', 'val_cfg', 'val_evaluator')
    missing = [part for part in parts if config.get(part) is None]
    there = [part for part in parts if part not in missing]
    if missing and there:
        off = ' '.join(f'{part}=None' for part in there)
        raise UserError(
            f'config {config.filename} has {", ".join(there)} and no {", ".join(missing)}: a '
            f'validation needs all three, a training without one has none (--cfg-options {off})'
        )


def need_parts(config: Config, parts: Sequence[str], purpose: str) -> None:
    """Stops if a config lacks what a run needs.

    Args:
        config: to look into.
        parts: keys that must be set.
        purpose: what is done with it, for the message.

    Raises:
        UserError: names the keys.
    """
    missing = [part for part in parts if config.get(part) is None]
    if missing:
        raise UserError(
            f'config {config.filename} has no {", ".join(missing)}, so there is nothing to '
            f'{purpose}; choose a config that names a data set and a method'
        )
