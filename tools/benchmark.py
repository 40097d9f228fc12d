"""Time and memory of a method, stage by stage; two methods are compared in alternation.

Examples::

    python tools/benchmark.py maskclip-tiny
    python tools/benchmark.py maskclip-vit-b16 --classes 847 --image-size 1024 2048
    python tools/benchmark.py maskclip-vit-b16 maskclip-vit-l14 --pretrained random --json out.json
    python tools/benchmark.py maskclip-vit-b16 --pretrained random --precision float32 bfloat16

What is timed is the whole way of one image: resizing and normalising, the encoder, scores,
refiners, upsampling to the image's own size and arg-max. Words are encoded once, before; their time
stands apart.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ovseg.errors import UserError, run_cli
from ovseg.precision_choice import PRECISIONS
from ovseg.zoo import check_weights, resolve_model


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
        default=20,
        help='default: %(default)s; a model whose classes training fixed keeps its own',
    )
    parser.add_argument('--batch-size', type=int, default=1, help='default: %(default)s')
    parser.add_argument('--repeat', type=int, default=5, help='default: %(default)s')
    parser.add_argument('--device', help='default: a GPU if there is one')
    parser.add_argument(
        '--precision',
        nargs='+',
        choices=PRECISIONS,
        default=['auto'],
        help='of the products in the image encoders; two for one model compare them '
        '(default: auto, the fastest that the device has instructions for)',
    )
    parser.add_argument('--templates', help="template set, instead of the config's")
    parser.add_argument(
        '--pretrained', help="weights instead of the config's; 'random' needs no download"
    )
    parser.add_argument('--json', metavar='FILE', help='also write the figures there')
    return parser.parse_args(argv)


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
    for name in ('classes', 'batch_size', 'repeat'):
        if getattr(args, name) < 1:
            raise UserError(f'--{name.replace("_", "-")} must be at least 1.')
    if min(args.image_size) < 1:
        raise UserError('--image-size must be two lengths of at least 1 pixel.')
    for config in args.config:
        _, place = resolve_model(config, args.on)
        check_weights(place.path, args.pretrained, '--pretrained FILE')
    if args.image:
        from ovseg.images.reading import find_images

        find_images(args.image)


def benchmark(args: argparse.Namespace) -> None:
    """Do what the command line says."""
    check(args)
    from ovseg.cli.benchmark_models import measure_models

    measure_models(args)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns 0, or 2 if nothing could be measured."""
    return run_cli(lambda: benchmark(parse_args(argv)))


if __name__ == '__main__':
    sys.exit(main())
