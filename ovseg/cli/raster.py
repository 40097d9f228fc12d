"""Masks of what you name in a raster of any size: a GeoTIFF, or any large picture.

The model sees square tiles; their scores are blended before they are decided, so that tiles leave
no seams. The labels are a GeoTIFF with the raster's coordinates; polygons go to a GeoPackage or
GeoJSON.

Examples::

    %(prog)s ortho.tif "building; road; tree, forest; water; grass" --out-dir maps
    %(prog)s ortho.tif words.txt --tile 1024 --save labels,gpkg --smallest 50
    %(prog)s sentinel.tif "field; forest; town" --bands 4 3 2 --value-range 0 3000
    %(prog)s huge.png "sky; roof" --model maskclip-vit-b16 --megabytes 512

Exit codes: 0 done; 2 nothing was done.
"""

from __future__ import annotations

import argparse
import json

from ovseg.apis.kinds import KINDS_OF_RASTER_FILES, check_kinds
from ovseg.cli.asking_arguments import add_model_arguments, checked_words
from ovseg.cli.asking_budget import add_budget
from ovseg.cli.entry import main_of
from ovseg.cli.parsers import add_rejection, check_counts, check_device, new_parser
from ovseg.errors import EXIT_OK, printable_line
from ovseg.files import check_folder
from ovseg.rasters import RasterSettings

SAVED = 'labels,overlay,json'


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The command line.

    Args:
        prog: how it is called.
    """
    parser = new_parser(__doc__, prog)
    parser.add_argument('image', metavar='RASTER', help='what to segment')
    parser.add_argument(
        'words', nargs='?', metavar='WORDS', help='what to look for, as in ovseg segment'
    )
    add_model_arguments(parser)
    add_budget(parser)
    parser.add_argument('--out-dir', default='outputs', help='default: %(default)s')
    parser.add_argument(
        '--threshold',
        type=float,
        metavar='P',
        help='pixels whose best class has a smaller probability become background',
    )
    parser.add_argument(
        '--save',
        metavar='KINDS',
        default=SAVED,
        help=f'any of {",".join(KINDS_OF_RASTER_FILES)} (default: %(default)s); labels are written '
        'in any case',
    )
    parser.add_argument(
        '--tile',
        type=int,
        default=RasterSettings.tile,
        metavar='PIXELS',
        help='side of the tiles; smaller ones show smaller things (default: %(default)s)',
    )
    parser.add_argument(
        '--overlap',
        type=int,
        metavar='PIXELS',
        help='what neighbouring tiles share (default: a quarter of a tile)',
    )
    parser.add_argument(
        '--bands',
        type=int,
        nargs='+',
        metavar='N',
        help='red, green and blue, or one grey band, from 1 (default: as the file says)',
    )
    parser.add_argument(
        '--value-range',
        type=float,
        nargs=2,
        metavar=('LOW', 'HIGH'),
        help='values that become black and white where bands are not 8-bit (default: the 2nd and '
        'the 98th percentile of each band)',
    )
    parser.add_argument(
        '--smallest',
        type=int,
        default=1,
        metavar='PIXELS',
        help='smaller pieces become no polygons (default: %(default)s)',
    )
    parser.add_argument(
        '--megabytes',
        type=float,
        default=RasterSettings.megabytes,
        metavar='MB',
        help='memory for tiles, scores and labels, whatever the size of the raster (default: '
        '%(default)g)',
    )
    parser.add_argument(
        '--json', action='store_true', help='print what the JSON file holds, not the table'
    )
    add_rejection(parser)
    parser.set_defaults(task='semantic', stuff=None)
    return parser


def run(args: argparse.Namespace) -> int:
    """Labels the raster and prints what was found; returns the exit code.

    Args:
        args: of :func:`build_parser`.

    Raises:
        UserError: nothing could be done.
    """
    wanted = [kind.strip() for kind in args.save.split(',') if kind.strip()]
    kinds = check_kinds(wanted, KINDS_OF_RASTER_FILES)
    check_counts(args, 'smallest')
    check_folder(args.out_dir)
    vocabulary = checked_words(args)
    check_device(args.device)
    from ovseg.cli.segment_files import segmenter_of
    from ovseg.rasters import segment_raster

    settings = RasterSettings(
        tile=args.tile,
        overlap=args.tile // 4 if args.overlap is None else args.overlap,
        bands=None if args.bands is None else tuple(args.bands),
        value_range=None if args.value_range is None else tuple(args.value_range),
        megabytes=args.megabytes,
    )
    segmenter = segmenter_of(args)
    result = segment_raster(
        segmenter,
        args.image,
        vocabulary,
        folder=args.out_dir,
        what=kinds,
        background=args.background,
        threshold=args.threshold,
        settings=settings,
        smallest=args.smallest,
    )
    if args.json:
        print(json.dumps(result.to_dict(), ensure_ascii=False))
    else:
        height, width = result.size
        of = f'{printable_line(args.image)}, {height} x {width}'
        print(f'{of}: {segmenter.name} on {segmenter.device}\n\n{result.table()}\n')
        for kind, path in result.paths.items():
            print(f'{kind:9s}{printable_line(path)}')
    return EXIT_OK


main = main_of(build_parser, run, intermixed=True, prints=lambda args: args.json)
