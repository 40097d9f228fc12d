"""Boxes that a person draws in an image to say what a class means there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ovseg.apis.encoded_image import EncodedImage
from ovseg.errors import UserError


def check_takes_boxes(model: Any, called: str) -> None:
    """Stops at a model that takes no boxes in the image that it is asked about.

    Args:
        model: the segmentor.
        called: what it is called.

    Raises:
        UserError: says which models do.
    """
    if not hasattr(model, 'show'):
        raise UserError(
            f'The model {called} takes no boxes in the image that it is asked about: take SAM 3 '
            '(sam3-segearth), or teach(...) a training-free model what a box shows.'
        )


def with_boxes(
    model: Any,
    image: EncodedImage,
    name: str,
    boxes: Sequence[Sequence[float]],
    absent: Sequence[Sequence[float]],
    words: bool,
) -> EncodedImage:
    """The encoded image with boxes of a class.

    Args:
        model: the segmentor that encoded it.
        image: stays as it is.
        name: of the class, as it is asked for.
        boxes: (x1, y1, x2, y2) in pixels, around things that are meant.
        absent: likewise, around things that are not.
        words: whether the class's words count, too.

    Raises:
        UserError: boxes that do not fit.
    """
    size = (image.image.shape[0], image.image.shape[1])
    encoding = model.show(image.encoding, name, boxes, absent, size, words)
    return replace(image, encoding=encoding)
