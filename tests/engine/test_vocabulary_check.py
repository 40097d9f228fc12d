from __future__ import annotations

from types import SimpleNamespace

import pytest
from torch import nn

from ovseg.engine import VocabularyCheckHook, check_classes
from ovseg.errors import UserError
from ovseg.vocabulary import Vocabulary


def test_other_words_for_the_same_classes_pass():
    check_classes(['airplane', 'TV  set', 'sofa'], ['aeroplane', 'tv set', 'sofa'])


@pytest.mark.parametrize(
    'names, message',
    [
        (['cat'], r'knows 1 classes \(cat\) but the labels have 3 \(cat, dog, sofa\)'),
        (['background', 'cat', 'dog', 'sofa'], r'knows 4 classes \(background, cat, dog, ...\)'),
        (['background', 'cat', 'dog', 'sofa'], 'needs labels with a background, or `--suite none`'),
        (['cat', 'sofa', 'dog'], "another order: class 1 is 'sofa' for the model and 'dog'"),
        (['cat ', 'Sofa', 'dog'], 'another order'),
    ],
)
def test_classes_that_do_not_belong_together_stop(names, message):
    with pytest.raises(UserError, match=message):
        check_classes(names, ['cat', 'dog', 'sofa'])


class Model(nn.Module):
    def __init__(self, words):
        super().__init__()
        self.vocabulary = None if words is None else Vocabulary.parse(words)

    def set_vocabulary(self, source):
        self.vocabulary = Vocabulary.parse(source)


def runner_of(model, classes=('cat', 'dog'), palette=((1, 2, 3), (4, 5, 6))):
    dataset = SimpleNamespace(metainfo={'classes': classes, 'palette': palette})
    loader = SimpleNamespace(dataset=dataset)
    return SimpleNamespace(model=model, test_dataloader=loader, val_dataloader=loader)


@pytest.mark.parametrize('moment', ['before_test', 'before_val'])
def test_hook_checks_before_each_loop(moment):
    check = getattr(VocabularyCheckHook(), moment)
    check(runner_of(Model('cat; dog')))
    check(runner_of(nn.Identity()))
    with pytest.raises(UserError, match='another order'):
        check(runner_of(Model('dog; cat')))


def test_a_model_without_words_takes_those_of_the_data_set():
    model = Model(None)
    VocabularyCheckHook().before_test(runner_of(model))
    assert list(model.vocabulary.names) == ['cat', 'dog']
    assert [tuple(color) for color in model.vocabulary.palette] == [(1, 2, 3), (4, 5, 6)]
