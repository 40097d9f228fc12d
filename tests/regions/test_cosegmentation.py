"""What images have in common."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.regions.cosegmentation import cosegment, patch_weights, seed_patches


def images_with(common, sizes=(6, 9, 4), seed=0):
    """Patches at random, one of each image the common one; and which."""
    generator = torch.Generator().manual_seed(seed)
    images = [torch.randn(size, len(common), generator=generator) for size in sizes]
    places = [size // 2 for size in sizes]
    for image, place in zip(images, places, strict=True):
        image[place] = 3 * common + 0.05 * torch.randn(len(common), generator=generator)
    return images, places


def test_the_patch_that_all_images_have_is_the_seed_whatever_their_sizes():
    common = F.normalize(torch.arange(1.0, 13.0), dim=0)
    images, places = images_with(common)
    assert seed_patches(images) == places
    for kind in ('avg', 'weighted', 'winner'):
        reference, seeds = cosegment(images, kind=kind)
        assert seeds.shape == (3, 12) and float(reference @ common) > 0.99
    with pytest.raises(UserError, match="a reference is one of .*'best'"):
        cosegment(images, kind='best')


def test_weights_keep_seeds_off_what_is_everywhere():
    road, cat = F.normalize(torch.randn(2, 12, generator=torch.Generator().manual_seed(1)), dim=1)
    images, places = images_with(cat)
    for image in images:
        image[0] = 5 * road
    context = [(F.normalize(image, dim=1) @ road).mul(9).sigmoid() for image in images]
    seen = [patch_weights(torch.zeros(1, len(one), 1), one[None, None, :, None]) for one in context]
    assert seed_patches(images) == [0, 0, 0]
    assert seed_patches(images, [one.flatten() for one in seen]) == places


def test_the_released_slices_reach_into_images_that_follow():
    images = list(torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(0)))
    units = F.normalize(torch.cat(images), dim=1)
    likeness = units @ units.T

    def seeds(stops):
        best = [likeness[:, 5 * image : stop].amax(1) for image, stop in enumerate(stops)]
        return torch.stack(best).mean(0).view(4, 5).argmax(1).tolist()

    assert seed_patches(images) == seeds([5, 10, 15, 20])
    assert seed_patches(images, published=True) == seeds([5, 15, 20, 20])
    assert seeds([5, 10, 15, 20]) != seeds([5, 15, 20, 20])
