"""Correct a pixel on the page: the next answer knows it, of this visitor and of no other."""

from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np
import pytest
from scripts import ROOT
from served_page import Visitor, need_gradio, served

from ovseg import OpenVocabSegmenter
from ovseg.app.corrections import MOST_CORRECTIONS, Correction
from ovseg.app.desk import Desk, Question
from ovseg.errors import Notice, UserError
from ovseg.exemplars.taught import Taught

SCENE = (ROOT / 'demo' / 'scene.png').read_bytes()
WORDS = (
    'sky; grass; water; red star; purple kite; pink heart; orange mushroom; yellow flower; '
    'blue ball; red fish'
)
# Grass between the flower and the ball, which the tiny CLIP takes for the ball.
WRONG = (370, 245)


@pytest.fixture(scope='module')
def tiny():
    return OpenVocabSegmenter('maskclip-tiny', device='cpu', precision='float32')


@pytest.fixture
def desk(tiny):
    return Desk(['maskclip-tiny'], lambda name: tiny, 100)


def question_of(desk, data=SCENE, words=WORDS):
    return Question(desk.receive(data), 'scene.png', 'maskclip-tiny', words)


def name_at(result, place):
    return result.names[result.labels[place]]


def test_the_next_answer_knows_and_no_other_question(desk, tiny):
    question = question_of(desk)
    before = desk.ask(question).result
    assert name_at(before, WRONG) == 'blue ball'
    corrected = desk.correct(question, *WRONG, 'grass')
    after = desk.ask(corrected).result
    assert name_at(after, WRONG) == 'grass'
    assert (after.labels == before.labels).mean() > 0.8  # the rest is what it was
    assert desk.why(corrected, *WRONG).names[desk.why(corrected, *WRONG).label] == 'grass'
    assert np.array_equal(desk.ask(question).result.labels, before.labels)
    assert tiny.bank is None
    assert np.array_equal(desk.ask(corrected).result.labels, after.labels)


def test_another_picture_knows_it_too(desk, tiny):
    corrected = desk.correct(question_of(desk), *WRONG, 'grass')
    flipped = (ROOT / 'docs' / 'images' / 'demo.png').read_bytes()
    other = question_of(desk, flipped)
    known = replace(other, corrections=corrected.corrections)
    assert not np.array_equal(desk.ask(known).result.labels, desk.ask(other).result.labels)


def test_classifiers_of_those_who_corrected_nothing_stay(desk, tiny):
    question = question_of(desk)
    desk.ask(question)
    made = []
    real = tiny.model.build_classifier
    tiny.model.build_classifier = lambda *given: (made.append(given), real(*given))[1]
    try:
        corrected = desk.correct(question, 178, 150, 'grass')
        for asked in (corrected, question, corrected, question):
            desk.ask(asked)
    finally:
        del tiny.model.build_classifier
    assert len(made) == 1


def test_what_the_page_was_started_with_counts_beside_corrections(desk, tiny, tmp_path):
    corrected = desk.correct(question_of(desk), *WRONG, 'grass')
    tiny.teach('sky', ROOT / 'demo' / 'scene.png', [(40, 20)])
    try:
        desk.bank(corrected, tmp_path / 'b.safetensors')
        assert tiny.bank.names == ('sky',)
    finally:
        tiny.forget()
    fresh = OpenVocabSegmenter('maskclip-tiny', device='cpu', precision='float32')
    assert set(fresh.load_bank(tmp_path / 'b.safetensors').names) == {'sky', 'grass'}


def test_the_bank_answers_elsewhere_as_on_the_page(desk, tmp_path):
    corrected = desk.correct(question_of(desk), *WRONG, 'grass')
    desk.bank(corrected, tmp_path / 'b.safetensors')
    fresh = OpenVocabSegmenter('maskclip-tiny', device='cpu', precision='float32')
    fresh.load_bank(tmp_path / 'b.safetensors')
    labels = fresh(ROOT / 'demo' / 'scene.png', WORDS).labels
    assert np.array_equal(labels, desk.ask(corrected).result.labels)


def test_what_cannot_be_is_a_sentence(desk):
    question = question_of(desk)
    for place, word, message in (
        (WRONG, 'sofa', "'sofa' is none of the words that are asked for"),
        ((900, 3), 'grass', 'There is no pixel at row 900, column 3'),
        ((-1, 3), 'grass', 'There is no pixel at row -1'),
    ):
        with pytest.raises(UserError, match=message):
            desk.correct(question, *place, word)
    many = replace(
        question,
        corrections=tuple(
            Correction(question.picture, 'scene.png', 'grass', row, 3)
            for row in range(MOST_CORRECTIONS)
        ),
    )
    with pytest.raises(UserError, match='100 corrections already'):
        desk.correct(many, *WRONG, 'grass')
    with pytest.raises(UserError, match='Nothing was corrected yet'):
        desk.bank(question, ROOT / 'nowhere.safetensors')
    gone = replace(question, corrections=(Correction('0' * 32, 'old.png', 'grass', 3, 3),))
    with pytest.raises(UserError, match="The correction 'grass' is of old.png: .* Or undo it"):
        desk.ask(gone)


def test_a_model_that_takes_no_examples_says_so_and_answers(desk):
    trained = OpenVocabSegmenter('ovseg-tiny', device='cpu', precision='float32')
    other = Desk(['ovseg-tiny'], lambda name: trained, 100)
    question = replace(question_of(other), model='ovseg-tiny')
    with pytest.raises(UserError, match='takes no examples'):
        other.correct(question, *WRONG, 'grass')
    corrected = desk.correct(question_of(desk), *WRONG, 'grass').corrections
    answer = other.ask(replace(question, corrections=corrected))
    assert any('your corrections change nothing here' in each for each in answer.notices)
    assert np.array_equal(answer.result.labels, other.ask(question).result.labels)


def test_what_was_lent_is_given_back_after_a_failure(tiny):
    taught: Taught = tiny.model.taught
    before = taught.mark
    with pytest.raises(RuntimeError), taught.lent('a visitor'):
        tiny.teach('sky', ROOT / 'demo' / 'scene.png', [(40, 20)])
        assert taught.mark != before and len(taught.bank) == 1
        raise RuntimeError
    assert taught.bank is None and taught.mark == before


@pytest.fixture(scope='module')
def url():
    need_gradio()
    with served('maskclip-tiny') as address:
        yield address


@pytest.mark.filterwarnings(f'ignore::{Notice.__module__}.Notice')
def test_the_page_corrects_undoes_and_hands_out_the_bank(url, tmp_path):
    one, other = Visitor(url), Visitor(url)
    plain = one.upload(SCENE, 'scene.png', WORDS)['view']
    other.upload(SCENE, 'scene.png', WORDS)
    assert 'Click a pixel' in one.correct('grass')['notes']
    one.why(*WRONG)
    assert 'none of the words' in one.correct('sofa')['notes']
    assert 'Type what it should be' in one.correct(' ')['notes']
    corrected = one.correct('grass')['view']
    assert corrected['labels'] != plain['labels']
    assert other.ask(WORDS)['view']['labels'] == plain['labels']
    assert one.ask(WORDS)['view']['labels'] == corrected['labels']
    file, _ = one.bank()
    (tmp_path / 'b.safetensors').write_bytes(base64.b64decode(file['data']))
    fresh = OpenVocabSegmenter('maskclip-tiny', device='cpu', precision='float32')
    assert fresh.load_bank(tmp_path / 'b.safetensors').names == ('grass',)
    assert one.press('ov-undo')['view']['labels'] == plain['labels']
    assert 'no correction to undo' in one.press('ov-undo')['notes']
    one.why(*WRONG)
    one.correct('grass')
    assert one.press('ov-empty')['view']['labels'] == plain['labels']
