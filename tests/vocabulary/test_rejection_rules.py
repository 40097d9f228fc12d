"""Rejection rules: what may be written down, how they chain, and what they reject."""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import replace

import pytest
import torch

from ovseg.errors import Notice, UserError
from ovseg.text.classifier import Classifier
from ovseg.vocabulary import Rejection, Vocabulary
from ovseg.vocabulary.fitting import Fitting

CHAIN = Rejection(
    'background',
    0.2,
    ('sky',),
    0.1,
    0.3,
    -0.5,
    4,
    0.05,
    Fitting(5, 10.0, 3, ('cat', 'dog'), (('model', 'a'), ('weights', 'b'))),
)


@pytest.mark.parametrize(
    'rule',
    [
        CHAIN,
        Rejection(),
        Rejection('margin', margin=0.1),
        Rejection('energy', energy=0.0),
        Rejection('presence', presence_top=2),
        Rejection('contrast', contrast='auto', contrast_margin=0.1),
        Rejection('class_zero', 0.4, presence_within=0.2),
    ],
)
def test_what_is_written_is_read_back(rule, tmp_path):
    assert Rejection.build(json.loads(json.dumps(rule.to_dict()))) == rule
    assert Rejection.build(json.dumps(rule.to_dict())) == rule
    path = tmp_path / 'rule.json'
    path.write_text(json.dumps(rule.to_dict()))
    assert Rejection.build(str(path)) == rule == Rejection.build(path)
    if rule != CHAIN:  # its word is one more class's
        vocabulary = Vocabulary.parse('sky; sea', rule)
        (tmp_path / 'words.json').write_text(vocabulary.to_json())
        assert Vocabulary.parse(tmp_path / 'words.json').rejection == rule


def test_rules_chain():
    listed = Rejection.build(['margin=0.3', {'kind': 'background', 'words': ['sky']}, 'energy=-1'])
    assert listed == Rejection('background', words=('sky',), margin=0.3, energy=-1)
    assert CHAIN.describe() == (
        'the words sky; best probability below 0.2; best class ahead by less than 0.3; energy '
        'above -0.5; only the 4 likeliest classes of an image; only classes within 0.05 of an '
        "image's likeliest; classes of at most 10% of the foreground (fitted on 5 classes)"
    )


@pytest.mark.parametrize('field', ['threshold', 'margin', 'energy', 'presence_within', 'min_area'])
@pytest.mark.parametrize('limit', [1 / 3, 0.1234567890123, 2 / 3 * 1e-6, 0.7])
def test_what_is_printed_is_the_rule_when_it_is_typed(field, limit):
    rule = Rejection.build(f'{field}={limit!r}')
    assert getattr(rule, field) == limit
    (_, typed, _) = rule.options().split('"')
    assert Rejection.build(typed) == rule
    said = rule.describe_test(field)
    number = float(re.search(r'[\d.]+(e-\d+)?', said)[0])
    assert number == (pytest.approx(100 * limit) if field == 'min_area' else limit)


@pytest.mark.parametrize(
    'rule',
    [CHAIN, Rejection('class_zero', 0.4), Rejection('contrast', contrast='auto', margin=0.3)],
)
def test_the_options_of_a_chain_are_all_of_its_tests(rule):
    found = dict(re.findall(r'--(\w+) "([^"]*)"', rule.options()))
    typed = Rejection.build(found['rejection'])
    kept = {'kind': rule.kind, 'words': rule.words, 'fitted': rule.fitted}
    assert replace(typed, **kept) == rule
    assert found.get('background', '') == ', '.join(rule.words)


@pytest.mark.parametrize(
    ('source', 'message'),
    [
        ('margin', "kind 'margin' needs a value of margin"),
        ('presence', "'presence' needs a value of presence_top or presence_within"),
        ('marg=0.1', "unknown rejection setting 'marg'.*Did you mean 'margin'"),
        ('margin=wide', "'margin=wide' must be a name and a number"),
        ('margin=1.5', 'rejection margin must be a difference from 0 to 1, got 1.5'),
        ('contrast_margin=0.1', 'compares with words for "none of these", and there are none'),
        ('kind=none, contrast=auto', 'needs a kind that rejects'),
        ({'kind': 'contrast', 'contrast': 3}, 'contrast must be .* or a file, got 3'),
        ('presence_top=0.5', 'must be a name and a number'),
        ('kind=none, margin=0.1', "rejection margin 0.1 needs kind 'threshold'"),
        ({'kind': 'energy', 'energy': float('nan')}, 'rejection energy must be a number'),
        ({'kind': 'margin', 'margin': 0.1, 'fitted': {'classes': 3}}, 'must say classes and scale'),
        (
            {'kind': 'margin', 'margin': 0.1, 'fitted': {'classes': 3, 'scale': 1, 'names': 'a'}},
            'must hold names as a list and scores as a table',
        ),
        (['margin=0.1', 'margin=0.2'], 'says margin twice'),
        (['none', 'margin=0.2'], "'none' cannot be part of a list"),
        ([], 'an empty list'),
        ('{"kind": ', 'is not valid JSON'),
    ],
)
def test_rules_that_say_nothing_are_refused(source, message):
    with pytest.raises(UserError, match=message):
        Rejection.build(source)


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / 'rule.json'
    for content, message in (
        ({'format': 'coco/1'}, "format is 'coco/1'"),
        (3, 'no rejection rule'),
    ):
        path.write_text(json.dumps(content))
        with pytest.raises(UserError, match=message):
            Rejection.build(path)
    with pytest.raises(FileNotFoundError):
        Rejection.build('nowhere.json')


# What is rejected ------------------------------------------------------------------------------


def classifier(rejection, scale=10.0):
    """Four rows of three classes behind a background without words."""
    index = torch.tensor([1, 1, 2, 3])
    return Classifier(
        torch.eye(4), index, 4, scale, aggregation='max', rejection=rejection, background_index=0
    )


@pytest.fixture(scope='module')
def scores():
    return torch.rand(1, 4, 6, 7, generator=torch.Generator().manual_seed(1)) / 3


def test_a_margin_is_between_classes_not_between_words(scores):
    labels = classifier(Rejection('margin', margin=0.15)).rule().decide(scores)
    shares = (10 * scores).softmax(1)
    first, second = (
        torch.cat([shares[:, :2].amax(1, True), shares[:, 2:]], 1).topk(2, 1).values.unbind(1)
    )
    assert torch.equal(labels == 0, first - second < 0.15) and 0 < (labels == 0).sum() < 42


def test_a_contrast_margin_is_ahead_of_the_best_word_for_none(scores):
    rule = Rejection('background', words=('wall', 'floor'), contrast_margin=0.1)
    words = Classifier(
        torch.eye(4),
        torch.tensor([0, 0, 1, 2]),
        3,
        10.0,
        aggregation='max',
        rejection=rule,
        background_index=0,
    )
    shares = (10 * scores).softmax(1)
    ahead = shares[:, 2:].amax(1) - shares[:, :2].amax(1)
    labels = words.rule().decide(scores)
    assert torch.equal(labels == 0, ahead < 0.1) and ((ahead > 0) & (labels == 0)).any()
    with pytest.raises(UserError, match='this model takes no words beside its own'):
        classifier(Rejection('contrast', contrast='auto'))


def test_an_energy_is_that_of_all_words(scores):
    energy = -(10 * scores).logsumexp(1) / 10
    limit = float(energy.median())
    labels = classifier(Rejection('energy', energy=limit + 1e-6)).rule().decide(scores)
    assert torch.equal(labels == 0, energy > limit + 1e-6) and 10 < (labels == 0).sum() < 30
    with pytest.raises(UserError, match='its scores are probabilities'):
        classifier(Rejection('energy', energy=0.0)).rule(are_probabilities=True).decide(scores)


def test_tests_of_a_chain_reject_each_what_it_rejects_alone(scores):
    rules = [Rejection('threshold', 0.5), Rejection('margin', margin=0.2)]
    alone = [classifier(rule).rule().decide(scores) == 0 for rule in rules]
    chain = classifier(Rejection.build(rules)).rule()
    assert torch.equal(chain.decide(scores) == 0, alone[0] | alone[1])
    failed = chain.rejected_by(scores)
    assert list(failed) == ['threshold', 'margin']
    assert all(torch.equal(failed[name], mask) for name, mask in zip(failed, alone, strict=True))


@pytest.mark.parametrize(
    ('rule', 'kept'),
    [
        ({'presence_top': 1}, [True, False, True, False]),
        ({'presence_top': 2}, [True, True, True, False]),
        ({'presence_within': 0.15}, [True, True, True, False]),
        ({'presence_within': 0.05}, [True, False, True, False]),
        ({'presence_top': 1, 'presence_within': 0.9}, [True, False, True, False]),
    ],
)
def test_presence_is_of_the_image_as_a_whole(rule, kept):
    means = torch.tensor([0.1, 0.4, 0.5, 0.2])  # of rows; class 1 has the first two
    found = classifier(Rejection('presence', **rule)).rule().present_classes(means)
    assert found.tolist() == kept


def test_limits_of_another_number_of_classes_are_doubted_once():
    rule = Rejection('threshold', 0.25, fitted={'classes': 81, 'scale': 10})
    with pytest.warns(Notice, match='fitted for 81 classes, and 3 are asked for: its limits'):
        classifier(rule).rule()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        classifier(rule).rule()
        classifier(Rejection('threshold', 0.25, fitted={'classes': 3, 'scale': 10})).rule()
    with pytest.raises(UserError, match='at a scale .* of 10, and here it is 40: .* mean nothing'):
        classifier(Rejection('threshold', 0.3, fitted=Fitting(3, 10)), scale=40.0).rule()
