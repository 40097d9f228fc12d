"""Several images on the command line: what a shell makes of a pattern that was not quoted."""

from __future__ import annotations

import argparse
import os
import sys

from ovseg.errors import UserError, printable_line
from ovseg.folders import is_image_name
from ovseg.images.finding import FoundImages, find_all_images


def take_more_images(args: argparse.Namespace) -> None:
    """Tell images from words: ``image_demo.py photos/*.jpg "cat; sofa"`` arrives as many arguments.

    Args:
        args: with ``image``, ``words`` and ``extra``; what of the latter two are images moves to
            ``more_images``.

    Raises:
        UserError: files that are no images stand among the images.
    """
    rest = [*([] if args.words is None else [args.words]), *args.extra]
    args.more_images = [word for word in rest if _is_image(word)]
    if not args.more_images:
        return
    words = [word for word in rest if not _is_image(word)]
    others = [word for word in words if os.path.exists(word)]
    if others and (len(words) > 1 or os.path.isdir(others[0])):
        folder = os.path.dirname(args.image) or '.'
        raise UserError(
            f'{others[0]} stands among the images and is none: put the pattern between quotes, '
            f'such as "{folder}/*.jpg", or name the folder {folder}.'
        )
    args.words, args.extra = (words[0] if words else None), words[1:]


def found_images(args: argparse.Namespace) -> FoundImages:
    """The images that the arguments name; folders that cannot be read are told on stderr.

    Args:
        args: with ``image`` and ``more_images``.

    Raises:
        UserError: see :func:`ovseg.images.finding.find_images`.
        FileNotFoundError: likewise.
    """
    unreadable: list[str] = []
    found = find_all_images(
        [args.image, *args.more_images],
        lambda place, error: unreadable.append(
            f'{printable_line(place)} ({error.strerror or error})'
        ),
    )
    if unreadable:
        print(
            f'note: {len(unreadable)} folders cannot be read, the first is {unreadable[0]}',
            file=sys.stderr,
        )
    return found


def _is_image(word: str) -> bool:
    return is_image_name(word) and os.path.isfile(os.path.expanduser(word))
