"""Time and memory of a method, stage by stage; two methods are compared in alternation.

Examples::

    %(prog)s maskclip-tiny
    %(prog)s maskclip-vit-b16 --classes 847 --image-size 1024 2048
    %(prog)s maskclip-vit-b16 maskclip-vit-l14 --pretrained random --json out.json
    %(prog)s maskclip-vit-b16 --pretrained random --precision float32 bfloat16
    %(prog)s maskclip-vit-b16 --classes 1 20 150 847 --sizes 224 448 1024x2048

What is timed is the whole way of one image: resizing and normalising, the encoder, scores,
refiners, upsampling to the image's own size and arg-max. Words are encoded once, before; their time
stands apart. Several numbers of classes, or sizes, give one table of what each of them costs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ovseg.cli.entry import main_of
from ovseg.cli.parsers import add_compile, check_counts, check_device, new_parser
from ovseg.errors import EXIT_OK, UserError
from ovseg.files import check_folder
from ovseg.precision_choice import PRECISIONS, add_tf32_argument
from ovseg.zoo import check_weights, resolve_model


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The command line.

    Args:
        prog: how it is called.
    """
    parser = new_parser(__doc__, prog)
    parser.add_argument('config', nargs='+', help='one or two model names or config paths')
    parser.add_argument('--on', metavar='DATA', help="use the config's settings for this data set")
    parser.add_argument(
        '--image-size',
        type=int,
        nargs=2,
        default=(480, 640),
        metavar=('H', 'W'),
        help='of a synthetic image, before resizing (default: 480 640)',
    )
    parser.add_argument('--image', help='a picture instead of the synthetic one')
    parser.add_argument(
        '--classes',
        type=int,
        nargs='+',
        default=[20],
        metavar='K',
        help='how many, default: 20; a model whose classes training fixed keeps its own',
    )
    parser.add_argument(
        '--sizes',
        type=_size,
        nargs='+',
        metavar='HxW',
        help='synthetic images that the network takes at their own size, without the resize of '
        'the config: 448 for 448x448, or 1024x2048',
    )
    parser.add_argument('--batch-size', type=int, default=1, help='default: %(default)s')
    parser.add_argument('--repeat', type=int, default=5, help='default: %(default)s')
    parser.add_argument('--device', help='default: auto, a GPU if there is one')
    parser.add_argument(
        '--precision',
        nargs='+',
        choices=PRECISIONS,
        default=['auto'],
        help='of the products in the image encoders; two for one model compare them '
        '(default: auto, the fastest that the device has instructions for)',
    )
    add_tf32_argument(parser)
    add_compile(parser, 'compare the model with itself, its image encoders compiled')
    parser.add_argument('--templates', help="template set, instead of the config's")
    parser.add_argument(
        '--pretrained', help="weights instead of the config's; 'random' needs no download"
    )
    parser.add_argument(
        '--json', metavar='FILE', help='also write the figures there; "-" prints them, and no table'
    )
    return parser


def is_table(args: argparse.Namespace) -> bool:
    """Whether the costs of several numbers of classes or sizes are asked for.

    Args:
        args: of :func:`build_parser`.
    """
    return args.sizes is not None or len(args.classes) > 1


def _size(text: str) -> tuple[int, int]:
    """(height, width) of ``'448'`` or ``'1024x2048'``."""
    sides = text.lower().split('x')
    if len(sides) > 2 or not all(side.isdecimal() and int(side) >= 32 for side in sides):
        raise argparse.ArgumentTypeError(
            f"'{text}' is no size of at least 32 pixels: write 448 or 1024x2048 (height x width)"
        )
    return int(sides[0]), int(sides[-1])


def check(args: argparse.Namespace) -> None:
    """Stop at what can be refused before torch is imported, which takes seconds.

    Raises:
        UserError: numbers or models that are none.
        FileNotFoundError: there is no such config or picture.
    """
    if len(args.config) > 2:
        raise UserError(f'{len(args.config)} configs were given: compare two at a time.')
    if len(args.precision) > 2 or len(args.config) * len(args.precision) > 2:
        raise UserError(
            f'{len(args.config)} x {len(args.precision)} configs and precisions were given: '
            'compare two configs, or one in two precisions.'
        )
    check_counts(args, 'classes', 'batch_size', 'repeat')
    if is_table(args) and len(args.config) * len(args.precision) > 1:
        raise UserError(
            'several --classes or --sizes make a table of one config in one precision: leave the '
            'others out.'
        )
    if args.compile and (is_table(args) or len(args.config) * len(args.precision) > 1):
        raise UserError(
            '--compile compares one config in one precision with itself: leave the others out.'
        )
    if args.sizes and args.image:
        raise UserError('--sizes are of synthetic images: leave --image out, or take --image-size.')
    if min(args.image_size) < 1:
        raise UserError('--image-size must be two lengths of at least 1 pixel.')
    for config in args.config:
        _, place = resolve_model(config, args.on)
        check_weights(place.path, args.pretrained, '--pretrained FILE')
    if args.image:
        from ovseg.images.reading import find_images

        find_images(args.image)
    if args.json:
        check_folder(Path(args.json).parent)
    check_device(args.device)


def run(args: argparse.Namespace) -> int:
    """Does what the command line says and returns the exit code.

    Args:
        args: of :func:`build_parser`.
    """
    check(args)
    from ovseg.cli.benchmark_costs import measure_costs
    from ovseg.cli.benchmark_models import measure_models

    (measure_costs if is_table(args) else measure_models)(args)
    return EXIT_OK


main = main_of(build_parser, run, intermixed=True, prints=lambda args: args.json == '-')
