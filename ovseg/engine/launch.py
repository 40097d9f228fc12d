"""What tools/train.py and tools/test.py share: arguments, configs, the Runner."""

from __future__ import annotations

import argparse
import ast
import atexit
import inspect
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from mmengine.config import Config, DictAction
from mmengine.runner import Runner

import ovseg.registry as registries
from ovseg.config_files import ConfigPlace, place_of_config, read_config
from ovseg.engine.checkpoint import install_safe_loading
from ovseg.engine.distributed import check_launcher
from ovseg.engine.runner import OVRunner
from ovseg.errors import EXIT_OK, UserError, nearest
from ovseg.images import follow_overrides
from ovseg.zoo import list_models

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


class OptionsAction(DictAction):
    """``--cfg-options key=value ...``; a word without ``=`` is a usage error.

    A value with braces is read as a Python literal, so that a list of dicts can be given.
    """

    @staticmethod
    def _parse_iterable(val: str) -> Any:
        if '{' not in val:
            return DictAction._parse_iterable(val)
        try:
            return ast.literal_eval(val)
        except (ValueError, SyntaxError) as error:
            raise UserError(
                f'--cfg-options cannot read {val!r}: write a Python literal, such as '
                "\"[{'type': 'KeySmoothing', 'threshold': 1.0}]\""
            ) from error

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Parses the words and checks their form first."""
        for word in values:
            if '=' not in word:
                parser.error(f"--cfg-options takes KEY=VALUE, got '{word}'")
        super().__call__(parser, namespace, values, option_string)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that training and testing share, with mmsegmentation's names.

    Args:
        parser: receives them.
    """
    parser.add_argument(
        '--on',
        metavar='DATA',
        help='which of its data sets a config is read for, with the published settings for it '
        '(default: the first one)',
    )
    parser.add_argument('--work-dir', help='folder for logs, checkpoints and results')
    parser.add_argument('--amp', action='store_true', help='mixed precision (needs a GPU)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
        metavar='KEY=VALUE',
        help='settings that replace those of the config, such as model.test_cfg.mode=slide '
        'test_dataloader.batch_size=4 or key="[(1,2),(3,4)]" (quoted, without blanks)',
    )
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='started by')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


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
    place = _place_of(args.config, args.on)
    config = read_config(place.path, place.on)
    options = args.cfg_options or {}
    _check_options(config, options)
    try:
        config.merge_from_dict(options)
    except (KeyError, TypeError, AssertionError) as error:
        raise UserError(f'--cfg-options do not fit {place.path}: {error}') from error
    follow_overrides(config, options)
    config.launcher = args.launcher
    if args.work_dir is not None:
        config.work_dir = args.work_dir
    elif config.get('work_dir') is None:
        on = config.get('on') if config.get('on_choices') else None
        config.work_dir = str(Path('work_dirs') / ConfigPlace(place.path, on).stem)
    return config


def _place_of(name: str, on: str | None) -> ConfigPlace:
    """The config of a path, of a name below ``configs/``, or of a model of the zoo."""
    try:
        return place_of_config(name, on)
    except FileNotFoundError:
        entries = {entry.name: entry for entry in list_models()}
        if name not in entries:
            raise
        return ConfigPlace(entries[name].config_path, on)


def _check_options(config: Config, options: Mapping[str, Any]) -> None:
    """Stops at a key that nothing reads: mmengine takes any, and a typing error would be silent."""
    known = {*config.keys(), *inspect.signature(Runner.__init__).parameters, 'tta_model'}
    known |= {
        'resize',
        'tta_pipeline',
        'tta_ratios',
        'tta_flip',
        'runner_type',
        'compile',
        'sync_bn',
        'find_unused_parameters',
    }
    known |= {'activation_checkpointing', 'efficient_conv_bn_eval', 'model_wrapper_cfg'}
    known -= {'self', 'cfg'}
    for key in options:
        first = key.split('.')[0]
        if first == 'device' and 'device' not in config:
            raise UserError(
                f"--cfg-options names '{key}', but a run takes the first GPU that torch sees, else "
                'the CPU: set CUDA_VISIBLE_DEVICES to choose one, or to nothing for the CPU'
            )
        if first not in known:
            raise UserError(
                f"--cfg-options names '{key}', but the config has no '{first}'."
                + nearest(first, known)
            )


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
