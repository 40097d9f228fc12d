"""Overlay pictures: the image, its classes painted over it, thin outlines and a legend."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from ovseg.visualization.legend import LegendEntry, attach_legend

# Pictures are enlarged to this length before a legend is set beside them: letters need pixels.
_SHORTEST_WITH_LEGEND = 480


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
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f'image must be (H, W, 3) uint8, but is {image.shape} {image.dtype}.')
    if labels.shape != image.shape[:2]:
        raise ValueError(f'labels are {labels.shape}, but the image is {image.shape[:2]}.')
    if len(names) != len(palette):
        raise ValueError(f'{len(names)} names, but {len(palette)} colours in the palette.')
    if not 0 <= opacity <= 1:
        raise ValueError(f'opacity must lie in [0, 1], but is {opacity}.')
    if legend:
        image, labels = _enlarge(image, labels)
    entries = [
        LegendEntry(
            names[index],
            None if index == background_index else tuple(int(c) for c in palette[index]),
            share,
        )
        for index, share in class_shares(labels, len(names))
    ]
    painted = _paint(image, labels, palette, background_index, opacity)
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


def _enlarge(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    factor = math.ceil(_SHORTEST_WITH_LEGEND / max(labels.shape))
    if factor <= 1:
        return image, labels
    size = (labels.shape[1] * factor, labels.shape[0] * factor)
    image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    return image, labels.repeat(factor, axis=0).repeat(factor, axis=1)


def _paint(
    image: np.ndarray,
    labels: np.ndarray,
    palette: Sequence[Sequence[int]],
    background_index: int | None,
    opacity: float,
) -> np.ndarray:
    num_classes = len(palette)
    # One colour more, for everything that is not painted.
    colors = np.zeros((num_classes + 1, 3), np.uint8)
    colors[:num_classes] = np.asarray(palette, np.uint8).reshape(num_classes, 3)
    index = np.where((labels >= 0) & (labels < num_classes), labels, num_classes)
    if background_index is not None:
        index[index == background_index] = num_classes
    paint = colors[index]
    is_painted = index < num_classes
    mixed = cv2.addWeighted(image, 1 - opacity, paint, opacity, 0)
    result = np.where(is_painted[..., None], mixed, image)
    outline = _outline(index) & is_painted
    result[outline] = paint[outline]
    return result


def _outline(index: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels that touch another class, widened with the size of the picture."""
    edge = np.zeros(index.shape, np.uint8)
    across = index[:, 1:] != index[:, :-1]
    down = index[1:] != index[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    thickness = round(max(index.shape) / 1000)
    if thickness > 1:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * thickness - 1,) * 2)
        edge = cv2.dilate(edge, kernel)
    return edge.astype(bool)
