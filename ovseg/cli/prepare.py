"""Make what a data set lacks, and check all of it: %(prog)s NAME DATA_ROOT.

Examples::

    %(prog)s voc --help                    # what DATA_ROOT holds, and what is written
    %(prog)s ade20k data/ade/ADEChallengeData2016 --workers 4

Files appear whole or not at all, so a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ovseg.cli.entry import main_of
from ovseg.cli.parsers import add_quiet, check_counts
from ovseg.datasets.preparation import PREPARATIONS, Preparation, prepare
from ovseg.datasets.preparation.sources import require_folder
from ovseg.errors import EXIT_OK


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The command line: a subcommand a data set, all with the same arguments.

    Args:
        prog: how it is called.
    """
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, formatter_class=raw)
    names = parser.add_subparsers(metavar='NAME', required=True)
    for name, preparation in PREPARATIONS.items():
        about = preparation.about or ''
        words = names.add_parser(
            name,
            aliases=[other for other in preparation.datasets if other != name],
            help=about.splitlines()[0],
            description=about,
            formatter_class=raw,
        )
        words.set_defaults(preparation=preparation)
        _add_arguments(words, preparation)
    return parser


def _add_arguments(parser: argparse.ArgumentParser, preparation: Preparation) -> None:
    parser.add_argument('data_root', metavar='DATA_ROOT', type=Path, help=preparation.root)
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count() or 1, help='processes (default: all cores)'
    )
    parser.add_argument(
        '--allow-partial',
        action='store_true',
        help='accept another number of images than the full split has',
    )
    splits = preparation.splits
    parser.add_argument(
        '--splits', nargs='+', choices=splits, default=[splits[0]], help='default: %(default)s'
    )
    add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Converts and checks the splits asked for, and returns the exit code.

    Args:
        args: of :func:`build_parser`.

    Raises:
        UserError: no workers, or a folder is not what it should be.
    """
    check_counts(args, 'workers')
    preparation: Preparation = args.preparation
    root = require_folder(Path(os.path.expanduser(args.data_root)).absolute(), preparation.root)
    code = EXIT_OK
    for recipe, items in preparation.recipes(root, args.splits):
        code = max(code, prepare(recipe, items, args.workers, args.allow_partial))
    return code


main = main_of(build_parser, run)
