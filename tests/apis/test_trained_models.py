"""Segmenters whose model was trained for classes of its own."""

from __future__ import annotations

import mmcv
import numpy as np
import pytest
from tiny_dense_clip import CLASSES, write_dense_clip

from ovseg import OpenVocabSegmenter
from ovseg.errors import UserError


@pytest.fixture(scope='module')
def segment(tmp_path_factory) -> OpenVocabSegmenter:
    config, checkpoint = write_dense_clip(tmp_path_factory.mktemp('trained'))
    return OpenVocabSegmenter(config, checkpoint=checkpoint)


@pytest.fixture(scope='module')
def image() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return mmcv.imresize(coarse, (70, 40))


def test_without_words_the_trained_classes_are_found(segment, image):
    result = segment(image, scores=True)
    assert result.names == CLASSES and result.background_index is None
    assert result.labels.shape == (40, 70) and len(np.unique(result.labels)) > 1
    assert np.array_equal(result.scores.argmax(0), result.labels)


def test_an_encoded_image_answers_for_any_choice_of_the_classes(segment, image):
    encoded = segment.encode(image)
    everything = segment(encoded, scores=True)
    assert np.array_equal(everything.labels, segment(image).labels)
    chosen = segment(encoded, 'wall; cat')
    assert chosen.names == ('wall', 'cat')
    # The better one of two classes is the better one whatever else is asked for.
    assert np.array_equal(chosen.labels, everything.scores[[2, 0]].argmax(0))
    assert segment(encoded).names == CLASSES


def test_words_given_at_the_start_take_the_place_of_all_classes(segment, image, tmp_path):
    config, checkpoint = write_dense_clip(tmp_path)
    some = OpenVocabSegmenter(config, checkpoint, vocabulary='red sofa; cat')
    result = some(image)
    assert result.names == ('red sofa', 'cat')
    assert np.array_equal(result.labels, segment(image, 'red sofa; cat').labels)


def test_a_threshold_makes_unsure_pixels_background(segment, image):
    encoded = segment.encode(image)
    plain = segment(encoded, scores=True)
    best = plain.scores.max(0)
    threshold = float(np.median(best))
    result = segment(encoded, threshold=threshold)
    assert result.names == ('background', *CLASSES) and result.background_index == 0
    is_clear = np.abs(best - threshold) > 1e-5
    wanted = np.where(best < threshold, 0, plain.labels + 1)
    assert np.array_equal(result.labels[is_clear], wanted[is_clear])


@pytest.mark.parametrize(
    ('words', 'settings', 'message'),
    [
        ('cat; zebra', {}, "trained for 3 classes .*'zebra' is none of them: leave the words out"),
        ('sofa', {}, "'sofa' is none of them"),
        (None, {'background': 'sky'}, 'words for the background mean nothing to it'),
    ],
)
def test_what_was_not_trained_is_refused_in_one_sentence(segment, image, words, settings, message):
    with pytest.raises(UserError, match=message):
        segment(image, words, **settings)
    with pytest.raises(UserError, match=message):
        segment.prepare(words, **settings)
    assert segment(image).names == CLASSES


def test_templates_are_refused(tmp_path):
    config, checkpoint = write_dense_clip(tmp_path)
    with pytest.raises(UserError, match='was trained with its own words: give no templates'):
        OpenVocabSegmenter(config, checkpoint, templates='single')
