"""Boxes of the command line: what a class means in the one image that is asked about."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field

from ovseg.cli.numbers_in_words import numbers_of
from ovseg.errors import UserError, nearest

Box = tuple[float, float, float, float]


@dataclass
class ClassBoxes:
    """Boxes of a class, (x1, y1, x2, y2) in pixels of the upright image.

    Attributes:
        meant: around things that the class means.
        absent: around things that it does not mean.
    """

    meant: list[Box] = field(default_factory=list)
    absent: list[Box] = field(default_factory=list)


def add_boxes(parser: argparse.ArgumentParser) -> None:
    """The options ``--box`` and ``--not-box``.

    Args:
        parser: of a command that asks about images.
    """
    parser.add_argument(
        '--box',
        action='append',
        default=[],
        metavar='NAME=X1,Y1,X2,Y2',
        help='around a thing of this class, in pixels of the one image, for a model that takes '
        'boxes there (SAM 3); may come again',
    )
    parser.add_argument(
        '--not-box',
        action='append',
        default=[],
        metavar='NAME=X1,Y1,X2,Y2',
        help='around a thing that this class does not mean',
    )


def boxes_of(args: argparse.Namespace, names: Sequence[str]) -> dict[str, ClassBoxes]:
    """The boxes that the command line gives, by class.

    Args:
        args: with what :func:`add_boxes` adds.
        names: of the classes that are asked for.

    Raises:
        UserError: not a name and four numbers, a box without an inside, or a class that is not
            asked for.
    """
    found: dict[str, ClassBoxes] = {}
    for option, texts in (('--box', args.box), ('--not-box', args.not_box)):
        for text in texts:
            name, box = _named(text, option)
            if name not in names:
                raise UserError(
                    f"{option} is about '{name}', which is not asked for "
                    f'({"; ".join(names) or "no words"}).{nearest(name, names)}'
                )
            boxes = found.setdefault(name, ClassBoxes())
            (boxes.meant if option == '--box' else boxes.absent).append(box)
    return found


def _named(text: str, option: str) -> tuple[str, Box]:
    name, is_there, numbers = text.rpartition('=')
    values = numbers_of(numbers, option) if is_there else []
    if len(values) != 4 or not name.strip():
        raise UserError(
            f'{option} takes a class and a box, such as "mug=40,60,120,160", got {text!r}'
        )
    left, top, right, bottom = values
    if not (left < right and top < bottom):
        raise UserError(
            f'{option} {text}: the box has no inside; its corners are left, top, right, bottom'
        )
    return name.strip(), (left, top, right, bottom)
