"""The arguments that training and testing share, and the config that they name.

Here and not beside the Runner, so that wrong words are answered before torch is imported.
"""

from __future__ import annotations

import argparse

from ovseg.config_files import ConfigPlace, place_of_config
from ovseg.errors import UserError
from ovseg.option_values import OptionsAction
from ovseg.precision_choice import add_precision_argument
from ovseg.zoo import list_models

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


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
    add_precision_argument(parser, 'float32')
    parser.add_argument(
        '--amp', action='store_true', help='the same as --precision float16 (needs a GPU)'
    )
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


def check_amp(args: argparse.Namespace) -> None:
    """Stops at ``--amp`` beside another precision, and where there is no GPU for it.

    Args:
        args: ``amp`` and ``precision``.

    Raises:
        UserError: says which.
    """
    if not args.amp:
        return
    if args.precision not in ('float32', 'float16'):
        raise UserError(
            f'--amp means --precision float16, and --precision {args.precision} was given, too: '
            'leave one of them out'
        )
    from ovseg.devices import need_gpu_for_amp  # torch, which other words do not wait for

    need_gpu_for_amp()


def place_of_run(name: str, on: str | None) -> ConfigPlace:
    """The config of a path, of a name below ``configs/``, or of a model of the zoo.

    Args:
        name: what the command line calls it.
        on: the data set.

    Raises:
        FileNotFoundError: there is none; names the nearest one.
        UserError: the name and ``on`` name two data sets.
    """
    try:
        return place_of_config(name, on)
    except FileNotFoundError:
        entries = {entry.name: entry for entry in list_models()}
        if name not in entries:
            raise
        return ConfigPlace(entries[name].config_path, on)
