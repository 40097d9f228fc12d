from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ovseg.regions import sampled_features
from ovseg.regions.sampled_features import SampledFeatures


def large_map(features, size):
    full = F.interpolate(features[None], size=size, mode='bilinear', align_corners=False)
    return F.normalize(full, dim=1)


@pytest.mark.parametrize('source', [(3, 5), (12, 9), (40, 56)])
@pytest.mark.parametrize(
    ('box', 'margins', 'grid'),
    [
        ((0, 0, 40, 56), (0, 0, 0, 0), (10, 14)),
        ((8, 16, 40, 48), (0, 0, 0, 0), (9, 5)),
        ((8, 24, 38, 56), (5, 6, 0, 0), (8, 8)),
        ((3, 1, 23, 14), (10, 10, 4, 3), (60, 41)),
    ],
)
def test_a_window_is_that_of_the_large_map(source, box, margins, grid):
    features = torch.randn(6, *source)
    look = SampledFeatures(features, (40, 56))
    y1, x1, y2, x2 = box
    top, bottom, left, right = margins
    window = large_map(features, (40, 56))[:, :, y1:y2, x1:x2]
    padded = F.pad(window, (left, right, top, bottom), mode='replicate')
    wanted = F.interpolate(padded, size=grid, mode='bilinear', align_corners=False)
    assert torch.allclose(look.window(box, margins, grid), wanted[0], atol=1e-5)


def test_region_means_are_those_of_the_large_map_however_many_rows_at_once(monkeypatch):
    features = torch.randn(4, 3, 5)
    regions = torch.randint(3, (21, 17))
    regions[0, :3] = torch.arange(3)
    full = large_map(features, (21, 17))[0]
    wanted = torch.stack([full[:, regions == number].mean(1) for number in range(3)])
    look = SampledFeatures(features, (21, 17))
    assert torch.allclose(look.region_means(regions), wanted, atol=1e-5)
    monkeypatch.setattr(sampled_features, '_VALUES_AT_ONCE', 4 * 17 * 2)
    assert torch.allclose(look.region_means(regions), wanted, atol=1e-5)
