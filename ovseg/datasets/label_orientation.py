"""Label maps of pictures that an EXIF tag turns: one rule for loading and for preparation.

Pictures are turned upright. A label map belongs to the upright picture, or, with
``labels_drawn_on='stored'``, to the pixels as they are stored and is turned alike. A label map's
own EXIF tag counts for nothing.
"""

from __future__ import annotations

import os
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from ovseg.errors import UserError
from ovseg.images.orientation import upright, upright_size

DrawnOn = Literal['upright', 'stored']
_said = False


def check_drawn_on(value: str, where: str) -> None:
    """Stops at a value of ``labels_drawn_on`` that is none.

    Args:
        value: of a config.
        where: whose setting it is.

    Raises:
        UserError: names those that there are.
    """
    if value not in get_args(DrawnOn):
        raise UserError(f"{where}.labels_drawn_on is 'upright' or 'stored', got {value!r}")


def fit_to_upright(
    labels: npt.NDArray[np.integer],
    size: tuple[int, int] | None,
    orientation: int,
    drawn_on: DrawnOn,
    path: str | os.PathLike[str],
) -> npt.NDArray[np.integer]:
    """Labels (H, W) of the upright picture.

    Args:
        labels: (H, W) as the file has them.
        size: (height, width) of the upright picture; None if it is not known.
        orientation: of the picture, 1 to 8.
        drawn_on: what the labels were drawn on.
        path: of the labels, named in errors.

    Raises:
        UserError: the sizes differ; names the orientation, if it is not 1.
    """
    is_stored = drawn_on == 'stored'
    wanted = size if size is None or not is_stored else upright_size(size, orientation)
    if wanted is not None and labels.shape != wanted:
        raise UserError(_mismatch(labels.shape, wanted, orientation, is_stored, path))
    return upright(labels, orientation) if is_stored and orientation > 1 else labels


def _mismatch(
    found: tuple[int, ...],
    wanted: tuple[int, int],
    orientation: int,
    is_stored: bool,
    path: str | os.PathLike[str],
) -> str:
    sizes = f'{path} has {found[0]} x {found[1]} labels but its image is {wanted[0]} x {wanted[1]}'
    if orientation == 1:
        return f'{sizes}, prepare the data set again'
    if is_stored:
        return (
            f"{sizes} as stored (its EXIF orientation is {orientation}): labels_drawn_on='stored' "
            'takes label maps of the stored pixels'
        )
    advice = 'draw the labels on the upright picture'
    if found == upright_size(wanted, orientation):
        advice = (
            'turn the label map, or, if all maps are drawn on the stored pixels, set '
            "labels_drawn_on='stored' in the data set"
        )
    return f'{sizes} after its EXIF orientation {orientation} turned it upright: {advice}'


def is_ambiguous(size: tuple[int, ...], orientation: int) -> bool:
    """Whether labels of the upright and of the stored picture have the same size.

    Args:
        size: (height, width) of the labels.
        orientation: of the picture, 1 to 8.
    """
    return orientation > 1 and (orientation < 5 or size[0] == size[1])


def say_ambiguous(image: str, orientation: int) -> None:
    """Says once in a run what is done with a turned picture whose labels could be of either kind.

    Args:
        image: path of the picture.
        orientation: of the picture, 2 to 8.
    """
    # Preparation reads this file without them.
    from mmengine.logging import MMLogger
    from torch.utils.data import get_worker_info

    global _said
    worker = get_worker_info()
    if _said or (worker is not None and worker.id):
        return
    _said = True
    MMLogger.get_current_instance().warning(
        f'{image} has the EXIF orientation {orientation} and is turned upright, while its label '
        'map is taken as drawn on the upright picture; if your label maps are drawn on the stored '
        "pixels, set labels_drawn_on='stored' in the data set (docs/data.md). This is said once, "
        'there may be more such pictures.'
    )
