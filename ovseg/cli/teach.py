"""Examples of what words do not say, kept in a bank: add, list, take out, put together.

An example is an image and a mark of the thing in it: a mask (a PNG, where it is not 0), a box,
clicks or a scribble. The bank keeps vectors of the model, no pixels, and serves the model that
made it. Other commands take it by --bank.

Examples::

    %(prog)s mugs.safetensors mug photo.jpg --mask photo_mask.png
    %(prog)s mugs.safetensors "red mug" photo.jpg --box 40,60,120,160
    %(prog)s mugs.safetensors "part 7" photo.jpg --points "52,80 60,91" --no-words
    %(prog)s mugs.safetensors --exemplars examples/       # examples/mug/a.jpg, a.jpg.mask.png
    %(prog)s mugs.safetensors --list
    %(prog)s mugs.safetensors --remove mug
    %(prog)s mugs.safetensors --merge others.safetensors
    ovseg segment photo.jpg "mug; table" --bank mugs.safetensors

Exit codes: 0 done; 2 nothing was done, and the bank is as it was.
"""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING

from ovseg.cli.asking_arguments import add_model_choice
from ovseg.cli.entry import main_of
from ovseg.cli.numbers_in_words import numbers_of
from ovseg.cli.parsers import check_device, new_parser
from ovseg.errors import EXIT_OK, UserError, printable_line
from ovseg.files import changed_alone
from ovseg.input_files import check_named, regular_file
from ovseg.zoo import check_weights, resolve_model

if TYPE_CHECKING:
    from ovseg.exemplars import Bank

_MARKS = ('mask', 'box', 'points', 'scribble')


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The command line.

    Args:
        prog: how it is called.
    """
    parser = new_parser(__doc__, prog)
    parser.add_argument('bank', metavar='BANK', help='a .safetensors file; made if it is not there')
    parser.add_argument('name', nargs='?', metavar='NAME', help='the class of the example')
    parser.add_argument('image', nargs='?', metavar='IMAGE', help='an image that shows it')
    parser.add_argument('--mask', metavar='PNG', help='of the image, not 0 where the thing is')
    parser.add_argument('--box', metavar='X1,Y1,X2,Y2', help='around the thing, in pixels')
    parser.add_argument('--points', metavar='"X,Y X,Y"', help='clicks on the thing, in pixels')
    parser.add_argument('--scribble', metavar='"X,Y X,Y"', help='corners of a line over the thing')
    parser.add_argument(
        '--no-words',
        action='store_true',
        help='the name means nothing to the model: examples alone say what the class is',
    )
    parser.add_argument(
        '--exemplars', metavar='DIR', help='teach a folder: a folder a class, IMAGE.mask.png'
    )
    parser.add_argument('--list', action='store_true', help='print what the bank holds')
    parser.add_argument('--remove', metavar='NAME', help='take the examples of a class out')
    parser.add_argument(
        '--remove-image', metavar='IMAGE', help='take those of an image out (as --list names it)'
    )
    parser.add_argument(
        '--merge', nargs='+', metavar='FILE', help='add all examples of other banks to this one'
    )
    parser.add_argument('--note', help="about the images' licence, kept in the bank")
    parser.add_argument('--json', action='store_true', help='print what the bank holds as JSON')
    add_model_choice(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Changes or lists a bank; returns 0.

    Args:
        args: of :func:`build_parser`.

    Raises:
        UserError: what does not go together, an example or a bank that does not fit.
        FileNotFoundError: a file that is not there.
    """
    marks = [mark for mark in _MARKS if getattr(args, mark) is not None]
    removes = args.remove is not None or args.remove_image is not None
    adds = args.name is not None or args.exemplars is not None
    actions = adds + removes + bool(args.merge)
    if actions > 1:
        raise UserError('Teach, remove and merge are one thing at a time: leave the others out.')
    if args.name is not None and (args.image is None or len(marks) != 1):
        raise UserError(
            'An example is a name, an image and one mark: ovseg teach BANK "red mug" photo.jpg '
            '--mask photo_mask.png (or --box, --points, --scribble).'
        )
    if marks and args.name is None:
        raise UserError(f'--{marks[0]} marks an example: name its class and its image, too.')
    if not actions and not args.list and not args.json and args.note is None:
        raise UserError('Say what to do: a name and an image, --exemplars, --list, --remove ...')
    if args.name is not None and args.exemplars is not None:
        raise UserError('Give one example, or --exemplars DIR, not both.')
    if args.no_words and not adds:
        raise UserError('--no-words is about the class of an example: name it and its image, too.')
    bank = _taught(args) if adds else _changed(args, removes)
    if args.list or args.json or actions:
        _tell(bank, args)
    return EXIT_OK


def _taught(args: argparse.Namespace) -> Bank:
    """The bank with new examples, written."""
    _, place = resolve_model(args.model, args.on)
    check_weights(place.path, args.checkpoint)
    check_named(args.checkpoint)
    if args.image is not None:
        regular_file(args.image, 'image')
    mark, scribble = args.mask, None
    if mark is not None:
        regular_file(mark, 'mask')
    elif args.box is not None:
        mark = numbers_of(args.box, '--box')
    elif args.points is not None:
        mark = _pairs(args.points, '--points')
    elif args.scribble is not None:
        scribble = _pairs(args.scribble, '--scribble')
    check_device(args.device)
    from ovseg.apis.segmenter import OpenVocabSegmenter
    from ovseg.apis.teaching import learn_folder
    from ovseg.exemplars import read_bank
    from ovseg.exemplars.example_folder import find_examples

    examples = None if args.exemplars is None else find_examples(args.exemplars)
    segmenter = OpenVocabSegmenter(
        args.model, args.checkpoint, device=args.device, on=args.on, precision=args.precision
    )
    has_words = not args.no_words
    with changed_alone(os.path.expanduser(args.bank)):
        if os.path.lexists(os.path.expanduser(args.bank)):
            segmenter.load_bank(args.bank)
        if examples is not None:
            learn_folder(segmenter, examples, has_words)
        else:
            segmenter.teach(args.name, args.image, mark, scribble=scribble, has_words=has_words)
        return read_bank(segmenter.save_bank(args.bank, args.note))


def _changed(args: argparse.Namespace, removes: bool) -> Bank:
    """The bank of the file, without or with others' examples; written where it changed."""
    regular_file(args.bank, 'bank')
    from dataclasses import replace

    from ovseg.exemplars import read_bank, write_bank

    with changed_alone(os.path.expanduser(args.bank)):
        bank = before = read_bank(args.bank)
        if removes:
            bank = bank.without(args.remove, args.remove_image)
            if not len(bank):
                raise UserError(
                    f'Nothing would be left in {args.bank}: remove the file if that is meant.'
                )
        for other in args.merge or ():
            bank = bank.merged(read_bank(other))
        if args.note is not None:
            bank = replace(bank, note=args.note)
        return bank if bank is before else read_bank(write_bank(bank, args.bank))


def _tell(bank: Bank, args: argparse.Namespace) -> None:
    """Print what a bank holds: all of it when asked, else how much of what."""
    rows = [
        {'class': name, 'image': image, 'patches': round(patches, 2)}
        for _, name, image, patches in bank.rows()
    ]
    named = zip(bank.names, bank.has_words, strict=True)
    nameless = [name for name, has_words in named if not has_words]
    if args.json:
        facts = {
            'encoder': str(bank.encoder),
            'date': bank.date,
            'note': bank.note,
            'classes': bank.counts(),
            'no_words': nameless,
            'examples': rows,
        }
        print(json.dumps(facts, ensure_ascii=False))
        return
    if args.quiet:
        return
    counts = ', '.join(f'{name} ({count})' for name, count in bank.counts().items())
    print(
        f'{args.bank}: {len(bank)} examples of {len(bank.names)} classes: {printable_line(counts)}'
    )
    if not args.list:
        return
    print(f'made with {printable_line(bank.encoder)}, {bank.date}')
    if bank.note:
        print(f'note: {printable_line(bank.note)}')
    if nameless:
        print(f'by examples alone, without words: {printable_line(", ".join(nameless))}')
    for row in rows:
        print(printable_line(f'  {row["class"]}: {row["image"]}, {row["patches"]} patches'))


def _pairs(text: str, option: str) -> list[list[float]]:
    pairs = [numbers_of(part, option) for part in text.split()]
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise UserError(f'{option} takes pairs such as "52,80 60,91", got {text!r}')
    return pairs


main = main_of(build_parser, run, prints=lambda args: args.json or args.list)
