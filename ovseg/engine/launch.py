"""What tools/train.py and tools/test.py share: configs and the Runner."""

from __future__ import annotations

import argparse
import atexit
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch
from mmengine.config import Config

import ovseg.registry as registries
from ovseg.config_files import ConfigPlace, read_config
from ovseg.devices import choose_device
from ovseg.engine.checkpoint import install_safe_loading
from ovseg.engine.distributed import check_launcher
from ovseg.engine.options import apply_options
from ovseg.engine.runner import OVRunner
from ovseg.errors import EXIT_OK, UserError
from ovseg.images import follow_overrides
from ovseg.precision_choice import choose_precision
from ovseg.run_arguments import LAUNCHERS, OptionsAction, add_common_arguments, place_of_run

__all__ = [
    'LAUNCHERS',
    'OptionsAction',
    'add_common_arguments',
    'asked_precision',
    'build_runner',
    'leave',
    'load_config',
    'need_gpu_for_amp',
    'need_parts',
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
    return kind.from_cfg(config)


def asked_precision(args: argparse.Namespace) -> torch.dtype:
    """The precision that the command line asks for, on the device that will compute.

    Args:
        args: ``precision`` and ``amp``, which is its name of before for float16.

    Raises:
        UserError: the two contradict each other, or the device has no such precision.
    """
    if not args.amp:
        return choose_precision(args.precision, choose_device())
    if args.precision not in ('float32', 'float16'):
        raise UserError(
            f'--amp means --precision float16, and --precision {args.precision} was given, too: '
            'leave one of them out'
        )
    need_gpu_for_amp()
    return choose_precision('float16', choose_device())


def need_gpu_for_amp(asked_by: str = '--amp') -> None:
    """Stops where mixed precision was asked for and there is no GPU.

    Args:
        asked_by: the option or setting, for the message.

    Raises:
        UserError: no GPU.
    """
    if not torch.cuda.is_available():
        raise UserError(
            f'{asked_by} needs a GPU and this machine has none that torch can use; leave it out'
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


def leave(code: int) -> NoReturn:
    """Ends the process; one of several leaves their group and skips the interpreter's finalization.

    DistributedDataParallel keeps references to the group, so the threads of gloo outlive it. If one
    of them frees a tensor while the interpreter is being finalized, it cannot take the lock that it
    needs and the process aborts ("terminate called without an active exception"), after all work
    has been done. multiprocessing ends the processes it forks in the same way.

    Args:
        code: the exit code.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        sys.exit(code)
    if code == EXIT_OK:
        # After an error the others may be waiting in the group, and leaving it would wait for them.
        torch.distributed.destroy_process_group()
    threading._shutdown()  # type: ignore[attr-defined]  # CPython's own: typeshed leaves it out
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
