"""The score of a class in a table is measured over the pixels that the result gives it."""

from __future__ import annotations

import numpy as np
import pytest
from few_windows import few_windows

from ovseg import OpenVocabSegmenter
from ovseg.zoo import list_models

EMBEDDED = [entry.name for entry in list_models() if entry.name.endswith('-tiny')]
WORDS = 'sky; grass; water; red star; purple kite; pink heart'


@pytest.fixture(scope='module', params=EMBEDDED)
def asked_once(request):
    """A segmenter, and the scene that it encoded."""
    segmenter = few_windows(OpenVocabSegmenter(request.param))
    return segmenter, segmenter.encode('demo/scene.png')


@pytest.mark.parametrize('asked', [{}, {'threshold': 0.9}, {'background': 'mushroom, fish'}])
def test_mean_scores_are_those_of_the_scores_over_the_final_pixels(asked_once, asked):
    segmenter, scene = asked_once
    takes_words = segmenter.model.takes_templates or segmenter.vocabulary is None
    if not takes_words and 'background' in asked:
        pytest.skip('a trained model takes no words for the background')
    words = WORDS if takes_words else None
    kept = segmenter(scene, words, scores=True, **asked)
    plain = segmenter(scene, words, **asked)
    assert np.array_equal(kept.labels, plain.labels)
    wordless = kept.background_index if 'threshold' in asked else None
    present = np.unique(kept.labels)
    assert len(present) > 3
    for label in range(len(kept.names)):
        if label not in present or label == wordless:
            assert np.isnan(plain.mean_scores[label])
            continue
        wanted = kept.scores[label][kept.labels == label].mean()
        assert plain.mean_scores[label] == pytest.approx(wanted, abs=1e-4)
        assert kept.mean_scores[label] == pytest.approx(wanted, abs=1e-4)
