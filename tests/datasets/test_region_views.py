"""Image and mask of a region stay together in every view of it."""

import numpy as np
import torch
from PIL import Image

from ovseg.datasets.region_views import centred_view, kept_pixels, random_view


def region(height=40, width=56):
    mask = np.zeros((height, width), np.uint8)
    mask[8:30, 10:40] = 255
    mask[20:36, 30:50] = 255
    return Image.fromarray(np.stack([mask] * 3, -1)), Image.fromarray(mask)


def test_a_random_view_cuts_image_and_mask_alike():
    image, mask = region()
    for seed in range(4):
        torch.manual_seed(seed)
        view, cut = random_view(image, mask, 32, scale=(0.3, 0.5))
        assert view.size == cut.size == (32, 32)
        assert set(np.unique(cut)) <= {0, 255}
        agreement = (np.array(view)[..., 0] > 127) == (np.array(cut) > 127)
        assert agreement.mean() > 0.95


def test_a_view_is_the_generators_choice():
    image, mask = region()
    views = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        views.append(np.array(random_view(image, None, 32, scale=(0.3, 0.5))[0]))
    assert (views[0] == views[1]).all()
    assert (views[0] != views[2]).any()


def test_the_centred_view_shows_the_middle_of_the_longer_side():
    image, mask = region(40, 80)
    view, cut = centred_view(image, mask, 20)
    expected = np.array(mask)[::2, 20:60:2]
    assert ((np.array(cut) > 0) == (expected > 0)).mean() > 0.93
    assert view.size == (20, 20)
    assert centred_view(image, None, 20)[1] is None


def test_only_the_exact_colour_is_blank():
    pixels = np.array([[[9, 8, 7], [9, 8, 6], [7, 8, 9]]], np.uint8)
    assert kept_pixels(pixels, (9, 8, 7)).tolist() == [[False, True, True]]
