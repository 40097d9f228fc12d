"""Overlay pictures: the image, its classes painted over it, thin outlines and a legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ovseg.visualization.legend import LegendEntry, attach_legend
from ovseg.visualization.paint import check_picture, enlarge, paint


def draw_overlay(
    image: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    palette: Sequence[Sequence[int]],
    background_index: int | None = None,
    opacity: float = 0.5,
    legend: bool = True,
) -> np.ndarray:
    """Paint classes over an image.

    Every class keeps its colour, mixed with the image; its outline is drawn in the pure colour. The
    background, and labels beyond the last class (255 for "ignored", say), are not painted. The
    legend lists the classes present, largest first, with their share of the area.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) integers, class indices.
        names: one a class.
        palette: RGB in [0, 255], one a class.
        background_index: the class that means "none of these".
        opacity: of the paint, in [0, 1].
        legend: set one beside or below the picture.

    Returns:
        uint8 RGB. Without a legend (H, W, 3). With it the canvas is larger, and an image whose
        longer side is under 480 pixels is enlarged by a whole factor, so that text can be read.

    Raises:
        ValueError: sizes of image and labels, or of names and palette, differ, or ``opacity`` is
            outside of [0, 1].
    """
    image, labels = np.asarray(image), np.asarray(labels)
    check_picture(image, labels, 'labels', opacity)
    if len(names) != len(palette):
        raise ValueError(f'{len(names)} names, but {len(palette)} colours in the palette.')
    if legend:
        image, labels = enlarge(image, labels)
    entries = [
        LegendEntry(
            names[index],
            None if index == background_index else tuple(int(c) for c in palette[index]),
            share,
        )
        for index, share in class_shares(labels, len(names))
    ]
    painted = paint(image, labels, palette, background_index, opacity)
    return attach_legend(painted, entries) if legend else painted


def class_shares(labels: np.ndarray, num_classes: int) -> list[tuple[int, float]]:
    """(class index, share of all pixels) of the classes present, largest first.

    Args:
        labels: (H, W) integers; values outside of [0, num_classes) count as area of no class.
        num_classes: how many classes there are.

    Example:
        >>> class_shares(np.array([[2, 2], [2, 0]]), 3)
        [(2, 0.75), (0, 0.25)]
    """
    flat = labels.ravel()
    known = flat[(flat >= 0) & (flat < num_classes)]
    counts = np.bincount(known, minlength=num_classes)
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda index: (-counts[index], index))
    return [(index, float(counts[index] / flat.size)) for index in order]
