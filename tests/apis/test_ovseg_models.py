"""Segmenters of OVSeg: trained, of random weights, and with proposals that need no training."""

from __future__ import annotations

import mmcv
import numpy as np
import pytest
import tiny_ovseg
import torch
from mmengine.config import Config
from PIL import Image

from ovseg import OpenVocabSegmenter
from ovseg.errors import UserError
from ovseg.images import Images, to_batch

SIZE = (70, 91)


@pytest.fixture(scope='module')
def image() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return mmcv.imresize(coarse, SIZE[::-1])


def write(path, **settings):
    resize = {'type': 'AntialiasedResize', 'scale': (128, 64)}
    Config({'model': tiny_ovseg.config(**settings), 'resize': resize}).dump(path)
    return path


@pytest.fixture
def published(tmp_path):
    """The model that was saved, the config and the checkpoint."""
    model = tiny_ovseg.build(seed=1)
    torch.save({'model': model.to_published()}, tmp_path / 'published.pth')
    return model, write(tmp_path / 'tiny.py'), tmp_path / 'published.pth'


def test_a_published_checkpoint_gives_the_model_that_was_saved(published, image):
    theirs, config, checkpoint = published
    segment = OpenVocabSegmenter(config, checkpoint=checkpoint, device='cpu')
    result = segment(image, scores=True)
    assert result.names == ('cat', 'sofa', 'wall', 'sky')
    assert np.array_equal(result.scores.argmax(0), result.labels)
    assert np.allclose(result.scores.sum(0), 1, atol=1e-5)
    inputs = to_batch([image], segment.resize, theirs.data_preprocessor)
    with torch.inference_mode():
        wanted = theirs.segment(theirs.encode(Images(inputs))[0], SIZE).labels.numpy()
    assert result.labels.shape == SIZE and (result.labels == wanted).mean() > 0.999


def test_an_encoded_image_answers_for_any_words(published, image):
    _, config, checkpoint = published
    segment = OpenVocabSegmenter(config, checkpoint=checkpoint, device='cpu')
    encoded = segment.encode(image)
    some = segment(encoded, 'dog; tree, bush; car')
    assert some.names == ('dog', 'tree', 'car') and some.labels.shape == SIZE
    rejecting = segment(encoded, 'dog; tree', background='wall')
    assert rejecting.background_index == 0
    surest = segment(encoded, 'dog; tree', threshold=1.0)
    assert (surest.labels == 0).all()


def test_templates_of_the_caller_replace_those_of_the_config(published, image):
    _, config, checkpoint = published
    plain = OpenVocabSegmenter(config, checkpoint, 'cpu').model.classifier.weight
    other = OpenVocabSegmenter(config, checkpoint, 'cpu', templates='a').model.classifier.weight
    assert plain.shape == other.shape and not torch.equal(plain, other)


def test_a_trained_model_without_a_checkpoint_is_refused(published):
    with pytest.raises(UserError, match='is a trained one: give its checkpoint'):
        OpenVocabSegmenter(published[1], device='cpu')


def test_random_weights_are_for_measuring_time(published, image):
    segment = OpenVocabSegmenter(published[1], checkpoint='random', device='cpu')
    assert segment.model.clip_weights == 'random'
    assert segment(image).labels.shape == SIZE


def test_random_weights_leave_out_what_was_adapted_to_others(tmp_path):
    config = write(tmp_path / 'tiny.py', adapted='gone.pth')
    assert OpenVocabSegmenter(config, checkpoint='random', device='cpu').model.adapted == []
    with pytest.raises(FileNotFoundError, match=r'any\.pth does not exist'):
        OpenVocabSegmenter(config, checkpoint=tmp_path / 'any.pth', device='cpu')


def test_regions_from_files_need_no_checkpoint(tmp_path, image):
    (tmp_path / 'maps').mkdir()
    map_ = np.zeros(SIZE, np.uint8)
    map_[:30], map_[40:, 50:] = 1, 2
    np.save(tmp_path / 'maps' / 'photo.npy', map_)
    Image.fromarray(image).save(tmp_path / 'photo.png')
    config = write(
        tmp_path / 'free.py',
        backbone=None,
        proposals={
            'type': 'RegionProposals',
            'regions': {'type': 'RegionFolder', 'folder': str(tmp_path / 'maps')},
        },
        ensemble={'weight': 0.0},
        clip=tiny_ovseg.EMBEDDED,
        vocabulary=None,
    )
    labels = OpenVocabSegmenter(config, device='cpu')(
        tmp_path / 'photo.png', 'sky; grass; water'
    ).labels
    assert labels.shape == SIZE
    # One name a region, away from the borders that a resize blurs.
    assert len(np.unique(labels[2:27])) == 1 and len(np.unique(labels[44:, 55:])) == 1
