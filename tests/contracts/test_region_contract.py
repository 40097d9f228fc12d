"""Where regions come from, what proposes masks, and what names them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import tiny_ovseg
import torch
from registered import build, check_table, half, noise, unchanged
from tiny_companions import Checkerboard
from tiny_sam3s import TINY_SAM3
from tiny_sams import TINY_SAM
from tiny_segmentors import pictures

from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.regions.mask_classifier import MaskView
from ovseg.regions.mask_maps import mask_maps
from ovseg.regions.region_maps import RegionFolder

SIZES = ((1, 1), (1, 37), (33, 17), (50, 71))
GENERATOR = {'points_per_side': 3, 'pred_iou_thresh': -10.0, 'stability_score_thresh': 0.0}
SOURCES = {
    'SAMRegions': lambda folder: {
        'sam': {'model': TINY_SAM, 'pretrained': 'random'},
        'generator': GENERATOR,
    },
    'RegionFolder': lambda folder: {'folder': folder},
    'SAM3Regions': lambda folder: {
        'words': 'cat; sofa, couch',
        'sam3': {'model': TINY_SAM3, 'pretrained': 'random'},
        'confidence': 0.0,
        'cache_dir': None,
    },
}
STAGES = {'RegionProposals': lambda folder: {'regions': Checkerboard()}}
# None is registered: OVSeg makes its own.
CLASSIFIERS = {'CropClassifier': lambda: tiny_ovseg.build().mask_classifier}


@pytest.fixture
def source_of(tmp_path):
    """Builds a source by its name; a folder of maps has one for each picture of `originals`."""
    for size in SIZES:
        labels = Checkerboard(4).regions(np.zeros((*size, 3)))
        np.save(tmp_path / f'{size[0]}x{size[1]}.npy', labels)
    return lambda name: build(name, **SOURCES[name](tmp_path))


def original(size):
    coarse = noise(1, 3, 4, 5).sigmoid()
    image = torch.nn.functional.interpolate(coarse, size, mode='nearest')[0]
    return (255 * image).byte().permute(1, 2, 0).numpy(), f'somewhere/{size[0]}x{size[1]}.jpg'


def test_every_registered_region_part_is_here():
    check_table('region source', SOURCES, 'SOURCES of this file')
    check_table('proposal stage', STAGES, 'STAGES of this file')
    check_table('mask classifier', set(CLASSIFIERS) - {'CropClassifier'}, 'CLASSIFIERS')


@pytest.mark.parametrize('name', SOURCES)
def test_any_image_gets_a_map_of_its_own_size_and_nothing_changes(name, source_of):
    source = source_of(name)
    for size in SIZES:
        image, path = original(size)
        before = image.copy()
        with unchanged(source):
            regions = source.regions(image, path)
            assert np.array_equal(source.regions(image, path), regions)
        assert regions.shape == size and regions.dtype == np.int64
        assert regions.min() >= 0 and np.array_equal(image, before)
    assert len(np.unique(regions)) > 1


@pytest.mark.parametrize('name', SOURCES)
def test_a_source_that_needs_names_says_so(name, source_of):
    source, (image, _) = source_of(name), original((33, 17))
    if source.needs_names:
        with pytest.raises(UserError, match='by the file name'):
            source.regions(image)
    else:
        assert source.regions(image).shape == (33, 17)


@pytest.mark.parametrize('name', STAGES)
def test_masks_are_proposed_alike_alone_and_in_a_batch(name, tmp_path):
    stage = build(name, **STAGES[name](tmp_path))
    assert stage.reads <= {'originals', 'names'}
    for size in SIZES:
        images = pictures(size, 2)
        with unchanged(stage):
            together = stage.propose(images)
        for index, found in enumerate(together):
            (alone,) = stage.propose(images[index : index + 1])
            assert found.maps.size == size and torch.equal(found.maps.maps, alone.maps.maps)
            assert torch.isfinite(found.maps.maps).all()
            assert (found.embeddings is None) == (alone.embeddings is None)


@pytest.mark.parametrize('name', STAGES)
def test_what_a_stage_reads_it_cannot_do_without(name, tmp_path):
    stage, images = build(name, **STAGES[name](tmp_path)), pictures((33, 17))
    if 'originals' in stage.reads:
        with pytest.raises(UserError, match='give originals'):
            stage.propose(Images(images.inputs))


def test_a_stage_reads_the_names_that_its_source_looks_up(tmp_path):
    assert build('RegionProposals', regions=RegionFolder(tmp_path)).reads == {'originals', 'names'}


@cache
def classifier_of(name):
    return CLASSIFIERS[name]()


def view(size, count=4):
    """Masks of which the last one is nowhere."""
    logits = noise(count, 8, 9)
    logits[-1] = -20
    image = pictures(size)
    rgb = 255 * noise(3, *size).sigmoid()
    return MaskView(rgb.round(), image.inputs[0], mask_maps(logits, size, size))


@pytest.mark.parametrize('name', CLASSIFIERS)
@torch.no_grad()
def test_masks_of_any_image_get_probabilities_of_any_words(name):
    named, rows = classifier_of(name), tiny_ovseg.build().classifier
    for size in SIZES[2:]:
        looked = view(size)
        kept = looked.image.clone(), looked.masks.maps.clone()
        with unchanged(getattr(named, 'tower', named)):
            features = named.look(looked)
        assert torch.equal(looked.image, kept[0]) and torch.equal(looked.masks.maps, kept[1])
        assert features.valid.dtype == torch.bool and features.valid.tolist()[-1] is False
        assert len(features.embeddings) == int(features.valid.sum()) > 0
        shares = named.probabilities(features, rows)
        assert shares.shape == (len(features.embeddings), len(rows.weight))
        assert shares.min() >= 0 and (shares.sum(1) <= 1 + 1e-5).all()


@pytest.mark.parametrize('name', CLASSIFIERS)
@torch.no_grad()
def test_a_mask_is_seen_alike_alone_and_with_others(name):
    named, looked = classifier_of(name), view((50, 71))
    together = named.look(looked)
    for index in range(3):
        masks = mask_maps(looked.masks.maps[0, index : index + 1], (50, 71), (50, 71))
        alone = named.look(MaskView(looked.image, looked.inputs, masks))
        assert torch.allclose(alone.embeddings[0], together.embeddings[index], atol=1e-4)


@pytest.mark.parametrize('name', CLASSIFIERS)
@torch.no_grad()
def test_masks_that_are_nowhere_have_no_embedding(name):
    named = classifier_of(name)
    nothing = mask_maps(torch.full((3, 8, 9), -20.0), (33, 17), (33, 17))
    looked = view((33, 17))
    features = named.look(MaskView(looked.image, looked.inputs, nothing))
    assert not features.valid.any() and len(features.embeddings) == 0
    assert named.probabilities(features, tiny_ovseg.build().classifier).shape == (0, 4)


@pytest.mark.parametrize('name', CLASSIFIERS)
@torch.no_grad()
def test_masks_are_seen_nearly_alike_in_half_precision(name):
    named, looked = classifier_of(name), view((50, 71))
    exact = named.look(looked)
    with half():
        rough = named.look(looked)
    assert torch.equal(exact.valid, rough.valid)
    alike = torch.cosine_similarity(exact.embeddings, rough.embeddings.float(), dim=1)
    assert alike.min() > 0.98
