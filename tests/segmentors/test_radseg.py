"""RADSeg: its parts by hand, and settings that do not fit."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ovseg.affinity import proxy
from ovseg.affinity.variants import AttentionContext, output_output
from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.scores.denoised import denoised
from ovseg.scores.row_map import WindowMaps
from ovseg.segmentors import RADSeg

SETTINGS = {
    'clip': {'model': 'tiny_clip_scenes', 'pretrained': 'embedded'},
    'vocabulary': 'sky; red circle, red ball; grass',
    'encoder': {'last_block': 'radseg'},
    'aggregation': {},
    'refiners': [{'type': 'ScoreSoftmax'}],
    'text': {'cache_dir': None, 'templates': 'single'},
    'test_cfg': {
        'mode': 'splice',
        'crop_size': (32, 32),
        'stride': (16, 16),
        'upsampling': 'direct',
    },
}


def test_tokens_that_become_alike_are_averaged():
    q, k, v = 3 * torch.randn(3, 2, 2, 5, 4, generator=torch.Generator().manual_seed(0))
    wanted = torch.softmax(q @ k.transpose(-1, -2) / 2, -1) @ v
    units = F.normalize(2 * wanted + 1, dim=-1)
    cosines = units @ units.transpose(-1, -2)
    assert (cosines < 0).any()
    weights = (10 * cosines).masked_fill(cosines < 0, -torch.inf).softmax(-1)
    found = output_output(q, k, v, AttentionContext(project=lambda heads: 2 * heads + 1))
    assert torch.allclose(found, weights @ v, atol=1e-5)


@pytest.mark.parametrize('megabytes', [1e-4, 100.0])
def test_a_map_is_mixed_by_its_own_similarities_in_blocks_of_any_size(megabytes):
    features = torch.randn(2, 6, 4, 5)
    mean = proxy.mean_similarity(features)
    affinity = proxy.proxy_affinity(features, mean, 1.0, 10.0)
    wanted = proxy.mix_values(features, affinity, (4, 5))
    found = proxy.pool_by_itself(features, megabytes=megabytes)
    assert torch.allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize('megabytes', [2**-10, 100.0])
def test_classes_that_no_pixel_is_sure_of_are_zero(megabytes):
    coarse = torch.tensor([[0.9, 0.0], [0.0, 0.62], [0.1, 0.1], [0.0, 0.28]])[None, :, None]
    # 0.62 at a patch is less between its neighbour and the image's border, but not at the border.
    maps = WindowMaps(coarse, [(0, 0, 40, 60)], (40, 60))
    found = denoised(maps, torch.tensor([0, 1, 2, 1]), 0.5, MemoryBudget(megabytes))
    full = maps.rows(0, 40)
    assert found.kept.tolist() == [True, True, False, True]  # the fourth is of the second's class
    whole = found.whole(MemoryBudget(megabytes))
    assert torch.equal(whole[[0, 1, 3]], full[[0, 1, 3]]) and not whole[2].any()
    assert torch.equal(found.rows(3, 7, torch.tensor([2, 1])), whole[[2, 1], 3:7])
    # The surest place is a patch's centre, where no pixel's centre needs to lie.
    maps = WindowMaps(torch.tensor([[[[0.0, 0.6, 0.0]]]]), [(0, 0, 2, 6)], (2, 6))
    assert maps.rows(0, 2).max() < 0.5
    assert not denoised(maps, torch.tensor([0]), 0.5, MemoryBudget(1)).kept.any()


def test_an_image_of_any_size_is_labelled():
    model = RADSeg(**SETTINGS).eval()
    image = torch.rand(2, 3, 50, 37)
    encodings = model.encode(Images(image))
    stretched, boxes = model.windows(image[:1])
    assert stretched.shape[2:] == (64, 48) and len(boxes) == 6
    assert encodings[0].features.patch.shape[2:] == (64 // model.encoder.stride[0], 48 // 8)
    alone = model.encode(Images(image[1:]), window_batch=1)[0]
    assert torch.allclose(alone.features.patch, encodings[1].features.patch, atol=1e-4)
    decision = model.segment(alone, (50, 37), keep_scores=True, measure=True)
    assert decision.labels.shape == (50, 37) and decision.scores.shape == (3, 50, 37)
    present = decision.labels.unique()
    assert decision.scores.amax((1, 2))[present].min() > 0


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'test_cfg': {'mode': 'whole'}}, r"RADSeg needs test_cfg\.mode='splice'"),
        (
            {'test_cfg': {**SETTINGS['test_cfg'], 'stride': (12, 12)}},
            r'multiples of the patch \(8, 8\)',
        ),
        ({'test_cfg': {**SETTINGS['test_cfg'], 'upsampling': 'via_input'}}, 'upsampling'),
        ({'refiners': []}, 'RADSeg needs probabilities on the patch grid'),
        ({'pixel_refiner': {'type': 'PAMR'}}, r'remove model\.guide'),
        ({'aggregation': {'gamma': 0}}, r'model\.aggregation\.gamma must be positive'),
        ({'aggregation': {'wings': 0}}, 'wings'),
        ({'denoise_below': 2}, r'model\.denoise_below must lie in \[0, 1\]'),
    ],
)
def test_settings_that_do_not_fit_are_one_sentence(changes, message):
    with pytest.raises(UserError, match=message):
        RADSeg(**{**SETTINGS, **changes})
