"""A prediction beside its ground truth."""

from __future__ import annotations

import numpy as np
import pytest

from ovseg.visualization import comparison, draw_comparison, draw_overlay

NAMES, PALETTE = ('sky', 'star', 'fish'), ((0, 0, 250), (250, 0, 0), (0, 200, 0))


def maps(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grey image, a prediction of star and sky, a truth of fish, sky and nothing."""
    labels, truth = np.zeros((height, width), int), np.zeros((height, width), int)
    labels[:, : width // 2] = 1
    truth[:, : width // 2] = 2
    truth[: height // 4] = 255
    return np.full((height, width, 3), 100, np.uint8), labels, truth


@pytest.mark.parametrize(('size', 'axis'), [((480, 640), 1), ((700, 500), 1), ((200, 900), 0)])
def test_the_truth_stands_left_or_above_and_the_prediction_beside(size, axis):
    image, labels, truth = maps(*size)
    picture = draw_comparison(image, labels, truth, NAMES, PALETTE, opacity=1.0)
    long, short = size[axis], size[1 - axis]
    assert picture.shape[axis] > 2 * long and picture.shape[1 - axis] >= short
    present = [
        {tuple(color) for color in half[: size[0]].reshape(-1, 3).tolist()}
        for half in np.array_split(picture, 2, axis)
    ]
    assert (0, 200, 0) in present[0] and (250, 0, 0) not in present[0]
    assert (250, 0, 0) in present[1]
    # What has no true class is not painted.
    assert (100, 100, 100) in present[0]


def test_the_legend_lists_the_classes_of_both(monkeypatch):
    listed = []
    monkeypatch.setattr(
        comparison, 'attach_legend', lambda picture, entries: listed.extend(entries) or picture
    )
    draw_comparison(*maps(480, 640), NAMES, PALETTE)
    assert [(entry.name, entry.share) for entry in listed] == [
        ('sky', 0.5),
        ('star', 0.5),
        ('fish', 0.0),
    ]


def test_the_prediction_is_painted_as_alone():
    image, labels, truth = maps(480, 640)
    alone = draw_overlay(image, labels, NAMES, PALETTE)[:480]
    picture = draw_comparison(image, labels, truth, NAMES, PALETTE)
    top = picture.shape[0] - 480
    found = [row for row in range(top) if (picture[row : row + 480, -640:] == alone).all()]
    assert len(found) == 1


def test_sizes_that_differ_are_named():
    image, labels, truth = maps(48, 64)
    with pytest.raises(ValueError, match=r'true labels are \(48, 63\)'):
        draw_comparison(image, labels, truth[:, 1:], NAMES, PALETTE)
