"""Why a pixel gets its label: the nearest words, their probabilities, and what rejected it.

Examples::

    %(prog)s photo.jpg "cat, kitten; sofa; wall" --at 120 200
    %(prog)s photo.jpg "cat; sofa" --at 120 200 --rejection margin=0.1 --json

Rows count from the top and columns from the left, both from 0, in the image as it is shown.
"""

from __future__ import annotations

import argparse
import json

from ovseg.cli.asking_arguments import add_model_arguments, checked_words
from ovseg.cli.entry import main_of
from ovseg.cli.parsers import add_rejection, check_counts, check_device, new_parser
from ovseg.errors import EXIT_OK, printable_line
from ovseg.input_files import regular_file


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The command line.

    Args:
        prog: how it is called.
    """
    parser = new_parser(__doc__, prog)
    parser.add_argument('image', metavar='IMAGE', help='the image')
    parser.add_argument('words', nargs='?', metavar='WORDS', help='as of "ovseg segment"')
    parser.add_argument(
        '--at', nargs=2, type=int, metavar=('ROW', 'COLUMN'), required=True, help='the pixel'
    )
    add_model_arguments(parser)
    parser.add_argument(
        '--threshold',
        type=float,
        metavar='P',
        help='pixels whose best class has a smaller probability become background',
    )
    add_rejection(parser)
    parser.add_argument(
        '--most', type=int, default=8, metavar='N', help='how many words (default: %(default)s)'
    )
    parser.add_argument('--json', action='store_true', help='print JSON, not a table')
    parser.set_defaults(task='semantic', stuff=None)
    return parser


def run(args: argparse.Namespace) -> int:
    """Prints the answer and returns the exit code.

    Args:
        args: of :func:`build_parser`.

    Raises:
        UserError: words or a model that are none, a place outside of the image.
        FileNotFoundError: there is no such image.
    """
    check_counts(args, 'most')
    regular_file(args.image, 'image')
    vocabulary = checked_words(args)
    check_device(args.device)
    from ovseg.cli.segment_files import segmenter_of

    why = segmenter_of(args).nearest_words(
        args.image,
        vocabulary,
        at=(args.at[0], args.at[1]),
        background=args.background,
        threshold=args.threshold,
    )
    if args.json:
        found = {'image': args.image, 'model': args.model, **why.to_dict(args.most)}
        print(json.dumps(found, ensure_ascii=False))
    else:
        print(f'{printable_line(args.image)}, row {why.row}, column {why.column}: {why.reason}')
        if why.moves and why.moved_from is None:
            print('The model moves pixels after its scores are decided; not this one.')
        print(f'\n{why.table(args.most)}')
    return EXIT_OK


main = main_of(build_parser, run, intermixed=True, prints=lambda args: args.json)
