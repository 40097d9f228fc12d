"""Which sentence asks best for each class: templates ranked on images without labels (FLOSS).

For every template the whole classifier is run; a class ranks first the template under which the
pixels that it wins are surest. The file is what --experts takes. A run that was killed goes on
where it was: its sums lie beside the output, in OUT.part.json.

Examples::

    %(prog)s photos/ "cat; sofa; wall" ranking.json --model maskclip-vit-b16
    ovseg segment photo.jpg "cat; sofa; wall" --model maskclip-vit-b16 --experts ranking.json

Exit codes: 0 all done; 1 some images could not be read, they are listed; 2 nothing could be done.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ovseg.cli.asking_arguments import add_model_arguments, checked_words
from ovseg.cli.entry import main_of
from ovseg.cli.image_arguments import found_images
from ovseg.cli.parsers import check_device, new_parser
from ovseg.errors import EXIT_OK, EXIT_SOME_FAILED, UserError, printable_line
from ovseg.files import check_folder

_SHOWN = 12


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The command line.

    Args:
        prog: how it is called.
    """
    parser = new_parser(__doc__, prog)
    parser.add_argument('image', metavar='FOLDER|GLOB', help='images without labels')
    parser.add_argument('words', metavar='WORDS', help='the classes, as in ovseg segment')
    parser.add_argument('out', metavar='OUT.json', help='the ranking')
    add_model_arguments(parser)
    parser.set_defaults(more_images=[], task='semantic', threshold=None, stuff=None, rejection=None)
    return parser


def run(args: argparse.Namespace) -> int:
    """Ranks; returns 0 (all done) or 1 (some images could not be read).

    Args:
        args: of :func:`build_parser`.

    Raises:
        UserError: nothing could be done.
        FileNotFoundError: likewise.
    """
    out = Path(args.out)
    if out.suffix.lower() != '.json':
        raise UserError(f'OUT must end in .json, got {args.out}')
    if args.experts is not None or args.contrast not in (None, 'none'):
        raise UserError('--experts and --contrast mean nothing to a ranking: leave them out.')
    if args.bank is not None or args.exemplars is not None:
        raise UserError('examples mean nothing to a ranking of sentences: leave them out.')
    check_folder(out.parent)
    found = found_images(args)
    vocabulary = checked_words(args)
    check_device(args.device)
    from ovseg.apis.template_ranking import rank_templates
    from ovseg.cli.segment_files import segmenter_of
    from ovseg.progress import with_progress

    failures: list[str] = []

    def failed(image: str, error: Exception) -> None:
        failures.append(f'{printable_line(image)}: {error}')

    images = [str(each.path) for each in found.images]
    ranking = rank_templates(
        segmenter_of(args),
        with_progress(images, len(images), 'image', 'ranking templates'),
        vocabulary,
        out.with_name(f'{out.stem}.part.json'),
        args.image,
        failed,
    )
    ranking.save(out)
    for name, ranked in list(ranking.classes.items())[:_SHOWN]:
        best = f'template {ranked[0].template}' if ranked else 'never wins: no expert'
        print(f'{name}: {best}')
    print(f'ranking {out}')
    for line in failures:
        print(line, file=sys.stderr)
    return EXIT_SOME_FAILED if failures else EXIT_OK


main = main_of(build_parser, run)
