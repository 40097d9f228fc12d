"""Examples as files: ``DIR/<class name>/<image>`` and ``<image>.mask.png`` beside it."""

from __future__ import annotations

import os
from pathlib import Path

from ovseg.errors import UserError
from ovseg.folders import is_image_name

MASK_END = '.mask.png'


def find_examples(folder: str | os.PathLike[str]) -> list[tuple[str, Path, Path]]:
    """Class, image and mask of each example in a folder, in order of their names.

    Args:
        folder: with a folder a class, whose name is the class's. In it each image has a mask
            ``<image>.mask.png``, such as ``mug/a.jpg`` and ``mug/a.jpg.mask.png``.

    Raises:
        UserError: no such folder, nothing in it, an image without a mask, or a mask without one.
    """
    root = Path(os.path.expanduser(folder))
    try:
        classes = sorted(name for name in os.listdir(root) if os.path.isdir(root / name))
    except OSError as error:
        raise UserError(
            f'{root} is no folder of examples ({error.strerror}): give one that has a folder a '
            f'class, with images and masks, such as mug/a.jpg and mug/a.jpg{MASK_END}'
        ) from error
    found: list[tuple[str, Path, Path]] = []
    for name in classes:
        files = {file for file in os.listdir(root / name) if os.path.isfile(root / name / file)}
        masks = {file for file in files if file.endswith(MASK_END)}
        images = sorted(file for file in files - masks if is_image_name(file))
        for image in images:
            if image + MASK_END not in masks:
                raise UserError(
                    f'{root / name / image} has no mask: put {image}{MASK_END} beside it'
                )
        for mask in sorted(masks):
            if mask.removesuffix(MASK_END) not in images:
                raise UserError(f'{root / name / mask} has no image beside it')
        found += [(name, root / name / file, root / name / (file + MASK_END)) for file in images]
    if not found:
        raise UserError(
            f'{root} holds no examples: it needs a folder a class, with images and masks, such as '
            f'mug/a.jpg and mug/a.jpg{MASK_END}'
        )
    return found
