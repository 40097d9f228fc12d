"""A prediction beside its ground truth, with one legend for both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw

from ovseg.visualization.draw import paint_and_name
from ovseg.visualization.fonts import font_for
from ovseg.visualization.legend import attach_legend
from ovseg.visualization.lettering import letter_size
from ovseg.visualization.paint import check_picture, enlarge

_PAPER = 255
_INK = (32, 33, 36)
# Pictures wider than this stand one below the other.
_WIDE = 1.7


def draw_comparison(
    image: np.ndarray,
    labels: np.ndarray,
    truth: np.ndarray,
    names: Sequence[str],
    palette: Sequence[Sequence[int]],
    background_index: int | None = None,
    opacity: float = 0.5,
) -> np.ndarray:
    """Paint the ground truth over an image, and a prediction beside it.

    The ground truth stands to the left, or above where the image is wide. The legend lists the
    classes of both, with their share in the prediction.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) integers, the classes predicted.
        truth: (H, W) integers, the true classes; what is none (255) is not painted.
        names: one a class.
        palette: RGB in [0, 255], one a class.
        background_index: the class that means "none of these", not painted.
        opacity: of the paint, in [0, 1].

    Returns:
        uint8 RGB, of twice the image's size with titles and legend; small images are enlarged as by
        ``draw_overlay``.

    Raises:
        ValueError: sizes differ, or ``opacity`` is outside of [0, 1].
    """
    image, labels, truth = np.asarray(image), np.asarray(labels), np.asarray(truth)
    check_picture(image, labels, 'labels', opacity)
    check_picture(image, truth, 'true labels', opacity)
    large, labels = enlarge(image, labels)
    _, truth = enlarge(image, truth)
    style = (names, palette, background_index, opacity)
    true_picture, true_entries = paint_and_name(large, truth, *style)
    picture, entries = paint_and_name(large, labels, *style)
    height, width = truth.shape
    size = letter_size(height, width)
    panels = [_titled('ground truth', true_picture, size), _titled('prediction', picture, size)]
    axis = 0 if width > _WIDE * height else 1
    gap_shape = list(panels[0].shape)
    gap_shape[axis] = max(4, size // 3)
    both = np.concatenate([panels[0], np.full(gap_shape, _PAPER, np.uint8), panels[1]], axis)
    missed = [replace(true_entries[i], share=0.0) for i in true_entries if i not in entries]
    return attach_legend(both, [*entries.values(), *missed])


def _titled(title: str, picture: np.ndarray, size: int) -> np.ndarray:
    """The picture below a line with its title."""
    strip = Image.new('RGB', (picture.shape[1], round(1.75 * size)), (_PAPER,) * 3)
    pen = ImageDraw.Draw(strip)
    place = (size // 2, strip.height // 2)
    pen.text(place, title, fill=_INK, font=font_for(title, size), anchor='lm')
    return np.concatenate([np.asarray(strip), picture])
