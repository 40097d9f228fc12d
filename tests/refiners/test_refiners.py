from __future__ import annotations

import pytest
import torch

from ovseg.errors import UserError
from ovseg.refiners import PAMR, KeySmoothing, PromptDenoising, key_smoothing
from ovseg.refiners.pamr import local_affinity, propagate


def scores_and_keys(seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(2, 5, 3, 4, generator=generator) * 0.05
    return scores, torch.randn(2, 12, 7, generator=generator)


def smoothed_by_loops(scores, keys, threshold, norm):
    """The definition, position by position."""
    out = torch.empty_like(scores)
    for image in range(len(scores)):
        probabilities = (100 * scores[image]).softmax(0).flatten(1)
        normed = torch.nn.functional.normalize(keys[image], dim=0 if norm == 'tokens' else 1)
        for position in range(probabilities.shape[1]):
            value = probabilities[:, position].clone()
            if value.max() < threshold:
                value = sum(
                    (normed[position] @ normed[other]) * probabilities[:, other]
                    for other in range(probabilities.shape[1])
                )
            out[image].flatten(1)[:, position] = value
    return out


@pytest.mark.parametrize('norm', ['tokens', 'channels'])
@pytest.mark.parametrize('threshold', [0.3, 0.7, 1.0])
def test_key_smoothing_equals_its_definition(norm, threshold):
    scores, keys = scores_and_keys()
    expected = smoothed_by_loops(scores, keys, threshold, norm)
    assert torch.allclose(key_smoothing(scores, keys, threshold, norm), expected, atol=1e-5)


def test_key_smoothing_keeps_positions_that_are_sure():
    scores, keys = scores_and_keys()
    probabilities = (100 * scores).softmax(1)
    sure = probabilities.amax(1, keepdim=True) >= 0.6
    assert sure.any() and not sure.all()
    smoothed = key_smoothing(scores, keys, 0.6)
    assert torch.equal(smoothed.where(sure, 0 * smoothed), probabilities.where(sure, 0 * smoothed))


def test_prompt_denoising_judges_each_image_and_class_by_its_best_position():
    scores = torch.zeros(2, 3, 2, 2)
    scores[0, 0], scores[0, 1, 0, 0], scores[1, 2] = 0.3, 0.6, 0.3
    denoised = PromptDenoising(0.5)(scores, None, None)
    assert [bool((denoised[i, c] == -100).all()) for i in (0, 1) for c in (0, 1, 2)] == [
        False, False, True, True, True, False,
    ]  # fmt: skip
    assert torch.equal(denoised[0, :2], scores[0, :2])
    assert torch.equal(PromptDenoising(0.0)(scores, None, None), scores)


def pamr_by_loops(image, scores, dilations, steps):
    """The definition, pixel by pixel."""
    height, width = image.shape[1:]

    def at(maps, y, x):
        return maps[:, min(max(y, 0), height - 1), min(max(x, 0), width - 1)]

    offsets = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    weights = {}
    for y in range(height):
        for x in range(width):
            block = [at(image, y + d * dy, x + d * dx) for d in dilations for dy, dx in offsets]
            spread = 1e-8 + 0.1 * torch.stack(block).std(0)
            likeness = [
                (-(at(image, y, x) - at(image, y + d * dy, x + d * dx)).abs() / spread).mean()
                for d in dilations
                for dy, dx in offsets
                if (dy, dx) != (0, 0)
            ]
            weights[y, x] = torch.stack(likeness).softmax(0)
    around = [(d * dy, d * dx) for d in dilations for dy, dx in offsets if (dy, dx) != (0, 0)]
    for _ in range(steps):
        old, scores = scores, torch.zeros_like(scores)
        for (y, x), weight in weights.items():
            for value, (dy, dx) in zip(weight, around, strict=True):
                scores[:, y, x] += value * at(old, y + dy, x + dx)
    return scores


@pytest.mark.parametrize(('dilations', 'steps'), [((1,), 1), ((2, 3), 2)])
def test_pamr_equals_its_definition(dilations, steps):
    image, scores = torch.randn(3, 6, 7), torch.randn(4, 6, 7)
    expected = pamr_by_loops(image, scores, dilations, steps)
    affinity = local_affinity(image, dilations)
    ours = propagate(scores, affinity, dilations, steps)
    assert torch.allclose(affinity.sum(0), torch.ones(6, 7), atol=1e-5)
    assert torch.allclose(ours, expected, atol=1e-5)


def test_pamr_of_an_even_image_is_finite_and_keeps_even_scores():
    image, scores = torch.ones(3, 20, 20), torch.full((2, 20, 20), 0.3)
    refiner = PAMR(2, (8, 16))
    refined = refiner(scores, refiner.prepare(image))
    assert torch.allclose(refined, scores, atol=1e-5)


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: PromptDenoising(1.5), r'PromptDenoising.threshold must lie in \[0, 1\], got 1.5'),
        (lambda: KeySmoothing(-0.1), r'KeySmoothing.threshold must lie in \[0, 1\], got -0.1'),
        (lambda: PAMR(steps=0), 'PAMR.steps and each of PAMR.dilations must be at least 1'),
        (lambda: PAMR(dilations=()), 'model.pixel_refiner=None for no PAMR'),
        (lambda: KeySmoothing(norm='rows'), "must be 'tokens' or 'channels', got 'rows'"),
    ],
)
def test_settings_out_of_range_are_named(build, message):
    with pytest.raises(UserError, match=message):
        build()
