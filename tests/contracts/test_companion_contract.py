from __future__ import annotations

from functools import cache

import pytest
import torch
from registered import SIZES, build, check_table, half, unchanged
from tiny_companions import COMPANIONS


@cache
def companion_of(name):
    settings = dict(COMPANIONS[name])
    return build(settings.pop('type'), **settings)


def pictures(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_every_registered_companion_is_here():
    names = {row['type'] for row in COMPANIONS.values()}
    check_table('companion', names, 'COMPANIONS of tests/tiny_companions.py')


@pytest.mark.parametrize('name', COMPANIONS)
@torch.no_grad()
def test_any_size_gives_the_grid_that_the_stride_promises(name):
    look = companion_of(name)
    fixed = None
    for size in SIZES:
        features = look(pictures(2, 3, *size))
        grid = tuple(features.shape[2:])
        if look.stride is None:
            fixed = fixed or grid
            assert grid == fixed
        else:
            rows, columns = look.stride
            assert grid == (max(1, size[0] // rows), max(1, size[1] // columns)), size
        assert features.shape[0] == 2 and torch.isfinite(features).all(), size


@pytest.mark.parametrize('name', COMPANIONS)
@torch.no_grad()
def test_an_image_is_seen_alike_alone_and_in_a_batch_and_nothing_changes(name):
    look, images = companion_of(name), pictures(3, 3, 24, 20)
    before = images.clone()
    with unchanged(look):
        together = look(images)
        for image, features in zip(images, together, strict=True):
            assert torch.allclose(look(image[None])[0], features, atol=1e-5)
    assert torch.equal(images, before)
    assert not any(value.requires_grad for value in look.parameters())


@pytest.mark.parametrize('name', COMPANIONS)
@torch.no_grad()
def test_half_precision_gives_nearly_the_same_features(name):
    look, images = companion_of(name), pictures(2, 3, 24, 20)
    exact = look(images)
    with half():
        rough = look(images).float()
    assert torch.cosine_similarity(exact.flatten(2), rough.flatten(2), dim=1).min() > 0.98
