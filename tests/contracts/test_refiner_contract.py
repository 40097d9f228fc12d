from __future__ import annotations

import pytest
import torch
from registered import build, check_table, half, noise, unchanged

from ovseg.budget import MemoryBudget
from ovseg.encoders import DenseFeatures
from ovseg.scores.pixel_refiner import RefinedPixels
from ovseg.scores.row_map import WindowMaps
from ovseg.text import Classifier
from ovseg.vocabulary import Rejection

ROWS, WIDTH = 5, 7
GRID = {
    'KeySmoothing': [{}, {'threshold': 0.5, 'norm': 'channels'}],
    'LearnedBackground': [{}],
    'PromptDenoising': [{'threshold': 0.2}],
    'ScoreSoftmax': [{}],
}
PIXEL = {'PAMR': [{'steps': 2, 'dilations': (1, 3)}, {'steps': 1, 'dilations': (4,)}]}
GRID_CASES = [(name, number) for name, rows in GRID.items() for number in range(len(rows))]
PIXEL_CASES = [(name, number) for name, rows in PIXEL.items() for number in range(len(rows))]
CLASSIFIER = Classifier(
    weight=noise(ROWS, 3),
    class_index=torch.tensor([1, 2, 3, 3, 4]),
    num_classes=ROWS,
    logit_scale=100.0,
    rejection=Rejection(kind='class_zero'),
    background_index=0,
    origin=('test',) * ROWS,
)


def inputs_of(batch, height, width):
    """Scores of cosines, and all that refiners may read beside them."""
    positions = height * width
    features = DenseFeatures(
        patch=noise(batch, 3, height, width, seed=1),
        keys=noise(batch, positions, WIDTH, seed=2),
        queries=noise(batch, positions, WIDTH, seed=3),
        tokens=noise(batch, WIDTH, height, width, seed=4),
        embedding=noise(batch, 3, seed=5),
        foreground=noise(batch, 1, height, width, seed=6).sigmoid(),
    )
    return 0.05 * noise(batch, ROWS, height, width), features


def part_of(features, index):
    one = slice(index, index + 1)
    return DenseFeatures(
        **{
            name: value[one]
            for name, value in vars(features).items()
            if isinstance(value, torch.Tensor)
        }
    )


def test_every_registered_refiner_is_here():
    check_table('grid refiner', GRID, 'GRID of this file')
    check_table('pixel refiner', PIXEL, 'PIXEL of this file')


@pytest.mark.parametrize('case', GRID_CASES)
def test_any_grid_is_refined_and_probabilities_are_what_they_are_called(case):
    refiner = build(case[0], **GRID[case[0]][case[1]])
    assert refiner.needs <= {'keys', 'queries', 'tokens', 'embedding'}
    for batch, height, width in [(1, 1, 1), (2, 1, 6), (3, 3, 4)]:
        scores, features = inputs_of(batch, height, width)
        out = refiner(scores, features, CLASSIFIER)
        assert out.shape == scores.shape and torch.isfinite(out).all()


@pytest.mark.parametrize('case', GRID_CASES)
def test_an_image_is_refined_alike_alone_and_in_a_batch_and_nothing_changes(case):
    refiner, (scores, features) = build(case[0], **GRID[case[0]][case[1]]), inputs_of(3, 3, 4)
    before = {k: v.clone() for k, v in vars(features).items() if isinstance(v, torch.Tensor)}
    kept = scores.clone()
    with unchanged(refiner):
        together = refiner(scores, features, CLASSIFIER)
        for index in range(3):
            alone = refiner(scores[index : index + 1], part_of(features, index), CLASSIFIER)
            assert torch.allclose(together[index], alone[0], atol=1e-5)
    assert torch.equal(scores, kept)
    assert all(torch.equal(getattr(features, name), value) for name, value in before.items())


@pytest.mark.parametrize('case', GRID_CASES)
def test_a_grid_is_refined_in_half_precision(case):
    refiner, (scores, features) = build(case[0], **GRID[case[0]][case[1]]), inputs_of(2, 3, 4)
    exact = refiner(scores, features, CLASSIFIER)
    with half():
        rough = refiner(scores, features, CLASSIFIER).float()
    assert torch.allclose(rough, exact, atol=0.05)


@pytest.mark.parametrize('case', PIXEL_CASES)
def test_bands_are_the_whole_and_nothing_changes(case):
    refiner = build(case[0], **PIXEL[case[0]][case[1]])
    maps, image = noise(1, ROWS, 5, 4), noise(3, 20, 16)
    source = WindowMaps(maps, [(0, 0, 60, 24)], (60, 24))
    kept = maps.clone(), image.clone()
    with unchanged(refiner):
        whole = RefinedPixels(source, refiner, image, MemoryBudget(1e6)).rows(0, 60)
        banded = RefinedPixels(source, refiner, image, MemoryBudget(1e-6))
        assert torch.allclose(banded.rows(0, 60), whole, atol=1e-5)
        index = torch.tensor([3, 1])
        assert torch.allclose(banded.rows(7, 31, index), whole[index, 7:31], atol=1e-5)
    assert torch.equal(maps, kept[0]) and torch.equal(image, kept[1])


@pytest.mark.parametrize('case', PIXEL_CASES)
def test_any_image_is_refined_and_nothing_beyond_the_reach_matters(case):
    refiner = build(case[0], **PIXEL[case[0]][case[1]])
    for size in [(1, 1), (1, 37), (33, 17)]:
        image, scores = noise(3, *size), noise(ROWS, *size)
        prepared = refiner.prepare(image)
        refined = refiner(scores, prepared)
        assert refined.shape == scores.shape and torch.isfinite(refined).all(), size
        assert torch.allclose(refiner(scores[1:3], prepared), refined[1:3], atol=1e-6)
    first = 32 - refiner.reach  # that the last row matters to
    other_scores, other_image = scores.clone(), image.clone()
    other_scores[:, 32] += 1
    other_image[:, 32] += 1
    other = refiner(other_scores, refiner.prepare(other_image))
    assert torch.allclose(other[:, :first], refined[:, :first], atol=1e-6)
    assert not torch.allclose(other[:, first:], refined[:, first:], atol=1e-3)
