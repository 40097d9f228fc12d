"""Several images on the command line: what a shell makes of a pattern that was not quoted."""

from __future__ import annotations

import argparse
import os

from ovseg.errors import UserError
from ovseg.folders import is_image_name


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


def _is_image(word: str) -> bool:
    return is_image_name(word) and os.path.isfile(os.path.expanduser(word))
