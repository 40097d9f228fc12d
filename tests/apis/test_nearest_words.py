"""Why a pixel got its label: what competed for it agrees with how it was decided."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
from few_windows import few_windows
from scripts import ROOT

from ovseg import OpenVocabSegmenter
from ovseg.cli.explain import main
from ovseg.errors import UserError
from ovseg.vocabulary import Vocabulary
from ovseg.vocabulary.descriptions import ClassDescriptions, Description, Descriptions

SCENE = ROOT / 'demo' / 'scene.png'
WORDS = 'sky; grass, sand; water; red star, star'
BACKGROUND = 'ball, heart'


@pytest.fixture(scope='module')
def asked():
    """A model whose synonyms compete, with the scene encoded by it and its answer."""
    segment = OpenVocabSegmenter('proxyclip-tiny', device='cpu', precision='float32')
    image = segment.encode(SCENE)
    return segment, image, segment(image, WORDS, background=BACKGROUND, scores=True)


@pytest.mark.parametrize('place', [(20, 20), (300, 40), (100, 120), (383, 511)])
def test_label_and_probabilities_are_those_of_the_result(asked, place):
    segment, image, result = asked
    why = segment.nearest_words(image, WORDS, at=place, background=BACKGROUND)
    assert why.label == result.labels[place] and why.name == result.names[why.label]
    for each in why.words:
        assert each.probability == pytest.approx(result.scores[each.label][place], abs=1e-5)


def test_words_come_nearest_first_each_with_what_it_lacks(asked):
    segment, image, _ = asked
    why = segment.nearest_words(image, WORDS, at=(20, 20), background=BACKGROUND)
    scores = [each.score for each in why.words]
    assert scores == sorted(scores, reverse=True)
    assert [each.margin for each in why.words] == pytest.approx([scores[0] - s for s in scores])
    assert why.words[0].words == ('sky',) and 'sky' in why.reason
    asked_for = {'sky', 'grass', 'sand', 'water', 'red star', 'star', 'ball', 'heart'}
    assert {word for each in why.words for word in each.words} == asked_for
    assert why.table(most=2).splitlines()[2].split()[:2] == ['sky', 'sky']


def test_averaged_words_are_named_together():
    segment = OpenVocabSegmenter('maskclip-tiny', device='cpu')
    why = segment.nearest_words(SCENE, 'sky; grass, sand', at=(300, 100))
    assert {each.words for each in why.words} == {('sky',), ('grass', 'sand')}


def test_further_words_and_sentences_are_named_and_find_their_examples(tmp_path):
    said = ClassDescriptions('ball', (Description('a round ball'),), ('red ball',))
    Descriptions((said,)).save(tmp_path / 'said.json')
    for combine, apart in (('mean', 1), ('max', 2), ('lse', 3)):
        text = {'descriptions': tmp_path / 'said.json', 'combine': combine}
        segment = few_windows(OpenVocabSegmenter('maskclip-tiny', device='cpu', text=text))
        image = segment.encode(SCENE)
        why = segment.nearest_words(image, 'sky; ball', at=(300, 100))
        words = [each.words for each in why.words if each.label == 1]
        assert len(words) == apart and {'ball', 'red ball', 'a round ball'} == set(sum(words, ()))
        assert all(len(each) == {1: 3, 2: 2, 3: 1}[apart] for each in words)
    before = segment(image, 'sky; ball').labels
    segment.teach('Red_Ball', image, (300, 200, 420, 300))
    assert 'exemplar' in {
        each.origin for each in segment.nearest_words(image, 'sky; ball', at=(300, 100)).words
    }
    assert (segment(image, 'sky; ball').labels != before).any()


def test_a_rejected_pixel_says_whose_probability_was_too_small(asked):
    segment, image, _ = asked
    why = segment.nearest_words(image, WORDS, at=(300, 40), threshold=1.0)
    assert why.name == 'background' and 'best probability below 1' in why.reason
    assert why.rejected_by == ('best probability below 1',) and why.moved_from is None


def test_a_pixel_that_a_later_step_moved_says_so():
    segment = few_windows(OpenVocabSegmenter('trident-tiny', device='cpu'))
    image = segment.encode(SCENE)
    words = 'sky; grass; water; red star; purple kite'
    result = segment(image, words, scores=True)
    moved = np.argwhere(result.labels != result.scores.argmax(0))
    assert len(moved), 'the refinement moves no pixel of this scene: choose other words'
    row, column = (int(each) for each in moved[0])
    why = segment.nearest_words(image, words, at=(row, column))
    assert why.label == result.labels[row, column]
    assert f'gives the pixel to {why.name!r}' in why.reason


@pytest.mark.parametrize('place', [(384, 0), (0, 512), (-1, 0)])
def test_a_place_outside_of_the_image_is_a_sentence(asked, place):
    segment, image, _ = asked
    with pytest.raises(UserError, match='384 rows and 512 columns'):
        segment.nearest_words(image, WORDS, at=place)


def test_a_result_explains_itself(asked, monkeypatch):
    segment, image, result = asked
    why = result.explain(20, 20)
    assert why == segment.nearest_words(image, WORDS, at=(20, 20), background=BACKGROUND)
    told = json.loads(json.dumps(why.to_dict(most=2)))
    assert told['class'] == 'sky' and len(told['words']) == 2
    assert told['words'][0]['origin'] == 'text' and not told['later_steps_move_pixels']
    two = sorted(result.scores[:, 20, 20])[-2:]
    assert told['margin'] == pytest.approx(two[1] - two[0], abs=1e-5)
    with pytest.raises(UserError, match='384 rows'):
        result.explain(384, 0)
    for other in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
        assert np.array_equal(other.labels, result.labels)
        with pytest.raises(UserError, match='does not know its model any more'):
            other.explain(20, 20)


def test_an_image_that_nobody_holds_is_encoded_again(asked):
    segment, image, _ = asked
    result = segment(np.ascontiguousarray(image.image[:96, :96]), WORDS, background=BACKGROUND)
    assert result.asked.encoded() is None
    assert result.explain(20, 20).label == result.labels[20, 20]


def test_what_rejects_a_pixel_is_named(asked):
    segment, image, _ = asked
    words = Vocabulary.parse('sky; grass; water; ball', 'threshold=0.2, margin=1, presence_top=2')
    why = segment(image, words).explain(20, 20)
    assert why.name == 'background' and why.rejected_by == ('best class ahead by less than 1',)
    assert len(why.absent) == 2 and 'out of this image' in why.reason
    assert {why.names[each] for each in why.absent} < {'grass', 'water', 'ball', 'sky'}


def test_the_command_answers_in_words_and_in_json(capsys):
    words = [str(SCENE), 'sky; grass; water', '--at', '20', '20', '--device', 'cpu']
    assert main([*words, '--rejection', 'margin=1', '--json'], 'ovseg explain') == 0
    told = json.loads(capsys.readouterr().out)
    assert told['class'] == 'background' and told['words'][0]['class'] == 'sky'
    assert main(words, 'ovseg explain') == 0
    shown = capsys.readouterr().out
    assert "row 20, column 20: 'sky' scores most" in shown and 'margin' in shown
