"""A web page on this machine: drop an image, type words, see masks.

Examples::

    %(prog)s                                        # the embedded models, at once
    %(prog)s --model maskclip-vit-b16               # photographs; weights are fetched at first use
    %(prog)s --model my_trained.py --checkpoint iter_8000.pth --only
    %(prog)s --host 0.0.0.0 --port 8080 --only      # for others in the network, too

It is there until Ctrl-C. Nothing leaves this machine, and pictures stay in memory: no file is
written. Whoever reaches the address may use it; without --host that is this machine alone.
"""

from __future__ import annotations

import argparse
import threading
from functools import partial
from typing import TYPE_CHECKING

from ovseg.cli.asking_arguments import add_model_arguments, check_model
from ovseg.cli.entry import main_of
from ovseg.cli.parsers import check_device, new_parser
from ovseg.cli.word_arguments import check_word_files
from ovseg.errors import EXIT_OK, UserError
from ovseg.vocabulary.parsing import parse_string
from ovseg.zoo import list_models, resolve_model

if TYPE_CHECKING:
    from ovseg.apis import OpenVocabSegmenter

_LARGEST_PORT = 65535


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The command line.

    Args:
        prog: how it is called.
    """
    parser = new_parser(__doc__, prog)
    parser.add_argument('words', nargs='?', metavar='WORDS', help='what stands in the box of words')
    add_model_arguments(parser)
    parser.add_argument(
        '--only', action='store_true', help='offer no other model than that of --model'
    )
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='the address to listen at; 0.0.0.0 for all of this machine (default: %(default)s)',
    )
    parser.add_argument('--port', type=int, default=7860, help='default: %(default)s')
    parser.add_argument(
        '--max-megabytes',
        type=float,
        default=20.0,
        metavar='MB',
        help='the largest file of an image that is taken (default: %(default)g)',
    )
    parser.add_argument(
        '--memory',
        type=float,
        default=2000.0,
        metavar='MB',
        help='what encoded images may take together; those not asked about for longest go first '
        '(default: %(default)g)',
    )
    return parser


def offered_models(args: argparse.Namespace) -> list[str]:
    """Names of the models that the page offers, the one that it starts with first.

    Those whose weights a user has to bring are not among the others.

    Args:
        args: of :func:`build_parser`.
    """
    first, _ = resolve_model(args.model, args.on)
    if args.only:
        return [first]
    return [first, *(each.name for each in list_models() if not each.file and each.name != first)]


def run(args: argparse.Namespace) -> int:
    """Serves the page until it is interrupted, and returns the exit code.

    Args:
        args: of :func:`build_parser`.

    Raises:
        UserError: a setting, a model or words that cannot be, or an address that is taken.
        FileNotFoundError: a file that is not there.
    """
    if not 0 < args.port <= _LARGEST_PORT:
        raise UserError(f'--port must be from 1 to {_LARGEST_PORT}.')
    for option in ('max_megabytes', 'memory'):
        if not getattr(args, option) > 0:
            raise UserError(f'--{option.replace("_", "-")} must be more than 0.')
    if args.words is not None:
        parse_string(args.words)
    check_model(args)
    check_word_files(args, None)
    names = offered_models(args)
    check_device(args.device)
    from ovseg.app.page import Beginning, drawn_scene
    from ovseg.app.serve import Place, Served

    beginning = Beginning(args.words or '', args.background or '', drawn_scene())
    where = Place(args.host, args.port, args.max_megabytes, args.memory)
    with Served(names, partial(load_model, args, names[0]), beginning, where) as served:
        print(f'The page is at {served.url} until Ctrl-C.', flush=True)
        try:
            wait_for_interrupt()
        except KeyboardInterrupt:
            print('The page is closed.')
    return EXIT_OK


def wait_for_interrupt() -> None:
    """Waits while other threads serve; Ctrl-C ends it with a ``KeyboardInterrupt``."""
    threading.Event().wait()


def load_model(args: argparse.Namespace, first: str, name: str) -> OpenVocabSegmenter:
    """The model of a name; that of ``--model`` with what else the command line says of it.

    Args:
        args: of :func:`build_parser`.
        first: the name of the model of ``--model``.
        name: which one is wanted.

    Raises:
        UserError: weights that cannot be had or do not fit.
        FileNotFoundError: likewise.
    """
    from ovseg.apis import OpenVocabSegmenter
    from ovseg.cli.segment_files import segmenter_of

    if name != first:
        return OpenVocabSegmenter(name, device=args.device, precision=args.precision)
    return segmenter_of(args)


main = main_of(build_parser, run)
