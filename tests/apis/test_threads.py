"""One segmenter asked by several threads: new words, little memory, words changed from outside."""

from __future__ import annotations

import copy
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from simultaneous import in_threads

from ovseg.apis import OpenVocabSegmenter
from ovseg.apis import questions as questions_module
from ovseg.apis.classifiers import KeptClassifiers
from ovseg.errors import UserError
from ovseg.text import TextEncoder
from ovseg.vocabulary import Vocabulary

CONFIG = Path(__file__).parents[1] / 'data' / 'configs' / 'random_tiny.py'
THREADS = 8


@pytest.fixture(scope='module')
def segment():
    torch.manual_seed(0)
    return OpenVocabSegmenter(CONFIG)


@pytest.fixture
def fresh_segment():
    torch.manual_seed(0)
    return OpenVocabSegmenter(CONFIG)


def noise(seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return coarse.repeat(5, 0).repeat(8, 1)


def words(number):
    """Words of a question: new ones, and some that other threads ask for too."""
    return f'thing {number % 29}; sofa, couch; thing {number % 11} of wood; wall'


@pytest.fixture(scope='module')
def serial(segment):
    """Labels of a segmenter that only one thread asks."""
    images = {}

    def ask(seed, question):
        if seed not in images:
            images[seed] = segment.encode(noise(seed))
        return segment(images[seed], question).labels

    return ask


@pytest.mark.parametrize('kept', [16, 3])
def test_new_words_of_many_threads_are_answered_as_in_series(kept, serial, monkeypatch):
    monkeypatch.setattr(questions_module, '_CLASSIFIERS_KEPT', kept)
    torch.manual_seed(0)
    asked = OpenVocabSegmenter(CONFIG)
    images = [asked.encode(noise(seed)) for seed in range(2)]
    questions = [[words(5 * number + step) for step in range(12)] for number in range(THREADS)]

    def work(number):
        return [asked(images[0], question).labels for question in questions[number]]

    for of_thread, answers in zip(questions, in_threads(work), strict=True):
        for question, labels in zip(of_thread, answers, strict=True):
            np.testing.assert_array_equal(labels, serial(0, question))
    # And the object is as good as before.
    for question in questions[3]:
        np.testing.assert_array_equal(asked(images[1], question).labels, serial(1, question))
    assert len(asked._questions.classifiers) <= kept


def test_threads_that_ask_the_same_new_words_encode_them_once(fresh_segment, monkeypatch):
    image, counted = fresh_segment.encode(noise()), []
    compute = TextEncoder._compute

    def counting(self, prompts, advance):
        counted.extend(prompts)
        return compute(self, prompts, advance)

    monkeypatch.setattr(TextEncoder, '_compute', counting)
    answers = in_threads(lambda number: fresh_segment(image, 'never asked for; nor this').labels)
    assert len(counted) == len(set(counted)) > 0
    assert all((answer == answers[0]).all() for answer in answers)


def test_models_words_that_change_meanwhile_change_no_answer(fresh_segment):
    image = fresh_segment.encode(noise())
    expected = fresh_segment(image, words(0)).labels
    own = {
        text: in_own_words(fresh_segment, image, text) for text in ('sky; sea', 'sofa; wall; cat')
    }

    def work(number):
        for step in range(10):
            if number % 2:
                fresh_segment.model.set_vocabulary(list(own)[step % 2])
            else:
                np.testing.assert_array_equal(fresh_segment(image, words(0)).labels, expected)
                assert fresh_segment.model.classifier.num_classes in (2, 3)

    in_threads(work)
    for text, labels in own.items():
        np.testing.assert_array_equal(in_own_words(fresh_segment, image, text), labels)


def in_own_words(segment, image, text):
    segment.model.set_vocabulary(text)
    return segment.model.segment(image.encoding, image.image.shape[:2]).labels.numpy()


def test_a_question_that_fails_leaves_nothing_behind(fresh_segment, monkeypatch):
    image = fresh_segment.encode(noise())
    build = fresh_segment.model.build_classifier

    def fail_for_some(vocabulary, rows=None):
        if 'bad' in vocabulary.names:
            raise UserError('these words are bad')
        return build(vocabulary, rows)

    monkeypatch.setattr(fresh_segment.model, 'build_classifier', fail_for_some)

    def work(number):
        if number % 2:
            return fresh_segment(image, 'good; wall').labels
        with pytest.raises(UserError, match='these words are bad'):
            fresh_segment(image, 'bad; wall')
        return None

    in_threads(work)
    monkeypatch.undo()
    assert fresh_segment(image, 'bad; wall').names == ('bad', 'wall')
    assert not fresh_segment._questions.classifiers._at_work


def test_memory_that_runs_out_for_all_at_once_shrinks_the_parts_once(fresh_segment, monkeypatch):
    image = fresh_segment.encode(noise())
    expected = fresh_segment(image, words(0)).labels
    whole = fresh_segment.memory.budget.megabytes
    label, together = fresh_segment.model.segment, threading.Barrier(THREADS)

    def label_in_little_memory(*args, budget, **kwargs):
        if budget.megabytes > whole / 4:
            together.wait(60)  # all have failed with the same budget
            raise torch.cuda.OutOfMemoryError('CUDA out of memory (simulated).')
        return label(*args, budget=budget, **kwargs)

    monkeypatch.setattr(fresh_segment.model, 'segment', label_in_little_memory)
    answers = in_threads(lambda number: fresh_segment(image, words(0)).labels)
    assert fresh_segment.memory.budget.megabytes == whole / 4
    assert all((answer == expected).all() for answer in answers)


def test_windows_shrink_once_for_all_that_ran_out_together(fresh_segment, monkeypatch):
    model = fresh_segment.model
    monkeypatch.setattr(model, 'inference_settings', SimpleNamespace(mode='slide'))
    fresh_segment.memory.window_batch = 8
    together = threading.Barrier(THREADS)

    def encode_in_little_memory(images, window_batch):
        if window_batch > 4:
            together.wait(60)
            raise torch.cuda.OutOfMemoryError('CUDA out of memory (simulated).')
        return [SimpleNamespace(is_finite=True)] * len(images)

    monkeypatch.setattr(model, 'encode', encode_in_little_memory)
    in_threads(lambda number: fresh_segment.encode(noise(number)))
    assert fresh_segment.memory.window_batch == 4


def test_a_copy_of_a_segmenter_answers_while_the_first_is_at_work(fresh_segment):
    expected = fresh_segment(noise(), words(0)).labels
    lock = fresh_segment.memory._lock
    with lock, fresh_segment._questions.classifiers._lock, fresh_segment.model.words._lock:
        twin = copy.deepcopy(fresh_segment)
        [labels] = in_threads(lambda number: twin(noise(), words(0)).labels, 1)
        [new] = in_threads(lambda number: twin(noise(), 'quite new; sofa').labels, 1)
    assert twin.model is not fresh_segment.model
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(new, fresh_segment(noise(), 'quite new; sofa').labels)


def test_the_classifiers_asked_for_last_are_kept():
    made = []

    def make(vocabulary):
        made.append(vocabulary.names[0])
        return object()

    kept = KeptClassifiers(make, 2)
    cat, dog, cow = (Vocabulary.parse(name) for name in ('cat', 'dog', 'cow'))
    first = kept.get(cat)
    assert kept.get(dog) is not first and kept.get(cat) is first
    kept.get(cow)
    assert kept.get(cat) is first and made == ['cat', 'dog', 'cow']
    kept.get(dog)
    assert made == ['cat', 'dog', 'cow', 'dog'] and len(kept) == 2
