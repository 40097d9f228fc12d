"""Label maps on disk."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ovseg.visualization import save_label_png


def test_few_classes_give_an_indexed_png_with_the_palette(tmp_path):
    labels = np.array([[0, 1], [2, 1]])
    palette = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    path = save_label_png(labels, palette, tmp_path / 'labels.png')
    with Image.open(path) as picture:
        assert picture.mode == 'P'
        assert (np.asarray(picture) == labels).all()
        assert np.asarray(picture.convert('RGB'))[1, 0].tolist() == [0, 0, 255]


def test_the_ignored_label_255_survives_with_a_short_palette(tmp_path):
    labels = np.array([[0, 255]])
    path = save_label_png(labels, [(9, 9, 9)], tmp_path / 'labels.png')
    assert (np.asarray(Image.open(path)) == labels).all()


@pytest.mark.parametrize(('top', 'classes'), [(846, 847), (300, 3), (5, 847), (65535, 2)])
def test_many_classes_give_16_bits(tmp_path, top, classes):
    labels = np.array([[0, top]])
    path = save_label_png(labels, [(1, 2, 3)] * classes, tmp_path / 'labels.png')
    read = np.asarray(Image.open(path))
    assert read.dtype.itemsize >= 2
    assert (read == labels).all()


@pytest.mark.parametrize(
    'labels', [np.array([[-1]]), np.array([[65536]]), np.zeros((2, 2)), np.zeros(3, int)]
)
def test_what_is_no_label_map_is_refused_and_leaves_no_file(tmp_path, labels):
    with pytest.raises(ValueError, match='abels? '):
        save_label_png(labels, [(0, 0, 0)], tmp_path / 'labels.png')
    assert not list(tmp_path.iterdir())
