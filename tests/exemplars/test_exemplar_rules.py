from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from vector_worlds import VectorWorld, support_from

from ovseg.errors import UserError
from ovseg.exemplars import RULES, Rule, Stats
from ovseg.exemplars.bank import Bank, EncoderIdentity
from ovseg.exemplars.gda import gda
from ovseg.exemplars.leave_one_out import leave_one_out
from ovseg.exemplars.prototypes import prototypes
from ovseg.exemplars.rns import training_rows
from ovseg.exemplars.stats import shrunk
from ovseg.text import Classifier
from ovseg.vocabulary import Vocabulary

CLASSES, DIM = 20, 128
HALF = torch.arange(0, CLASSES, 2)
RULES_OF_ROWS = ('proto', 'kindred', 'bayes', 'gda', 'proto-clip', 'tip', 'multi-modal')
FAST = {'rns': {'name': 'rns', 'steps': 20}}


@pytest.fixture(scope='module')
def measured():
    """mIoU of rules in three worlds: all classes, and those without examples."""
    found: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    for seed in range(3):
        world = VectorWorld.make(CLASSES, DIM, seed)
        test = world.images(6)
        for is_half in (False, True):
            supported = HALF if is_half else torch.arange(CLASSES)
            without = ~torch.isin(torch.arange(CLASSES), supported)
            support = world.support(1, supported)
            naive = torch.where(
                support.has[:, None], F.normalize(support.means, dim=1), support.text
            )
            classifiers = {
                'text': world.words(),
                'naive': support.classifier(naive),
                'gaussians alone': gda(support, alpha=1000.0),
                **{name: RULES[name](support) for name in RULES_OF_ROWS},
            }
            for name, classifier in classifiers.items():
                ious = world.iou(classifier, test)
                values = float(ious.mean()), float(ious[without].mean())
                found.setdefault((name, is_half), []).append(values)
    return {key: torch.tensor(values).mean(0) for key, values in found.items()}


@pytest.mark.parametrize('rule', RULES_OF_ROWS)
def test_partial_support_does_not_pull_pixels_to_the_classes_with_examples(measured, rule):
    text, own = measured['text', True], measured[rule, True]
    assert own[1] > text[1] - 1  # of the classes without examples
    assert own[0] > text[0] - 1
    assert measured['naive', True][0] < text[0] - 20  # what happens without care


def test_the_published_fit_to_each_image_does_pull_pixels_to_the_classes_with_examples():
    """A known limit of ``rns``, which docs/examples.md tells: it knows no gap."""
    own, text = [], []
    without = ~torch.isin(torch.arange(CLASSES), HALF)
    for seed in range(2):
        world = VectorWorld.make(CLASSES, DIM, seed)
        test = world.images(1)
        classifier = Rule({'name': 'rns', 'steps': 100})(world.support(1, HALF))
        for found, rows in ((own, classifier), (text, world.words())):
            found.append(float(world.iou(rows, test)[without].nanmean()))
    assert sum(own) / 2 < sum(text) / 2 - 20


def test_the_rules_come_in_the_order_that_the_world_was_made_for(measured):
    full = {name: float(value[0]) for (name, is_half), value in measured.items() if not is_half}
    half = {name: float(value[0]) for (name, is_half), value in measured.items() if is_half}
    assert full['bayes'] >= full['gaussians alone'] - 0.5 > full['proto'] > full['text']
    assert half['bayes'] > half['proto'] > half['text'] > half['naive']


def test_one_class_with_an_example_gains_and_no_other_loses():
    gains, others = [], []
    for seed in range(3):
        world = VectorWorld.make(CLASSES, DIM, seed)
        test = world.images(6)
        before = world.iou(world.words(), test)
        for label in (0, 13):
            change = world.iou(prototypes(world.support(1, torch.tensor([label]))), test) - before
            gains.append(float(change[label]))
            others.append(float(change.mean()))
    assert sum(gains) / len(gains) > 2 and sum(others) / len(others) > 0


@pytest.mark.parametrize('rule', RULES)
def test_every_rule_gives_each_class_a_row_and_finite_scores(rule):
    world = VectorWorld.make(6, 16, 0)
    support = world.support(2, torch.tensor([0, 3]))
    classifier = Rule(FAST.get(rule, rule))(support)
    scores = classifier.scores(torch.randn(2, 16, 3, 4))
    assert scores.shape == (2, 6, 3, 4) and scores.isfinite().all()
    rows = classifier.class_index.tolist()
    by_class: list[set[str]] = [set() for _ in range(6)]
    for label, origin in zip(rows, classifier.origin, strict=True):
        by_class[label].add(origin)
    assert ['exemplar' in each for each in by_class] == [label in (0, 3) for label in range(6)]
    halves = torch.cat([classifier.to('cpu').scores(torch.ones(1, 16, 1, 2)) for _ in range(2)])
    assert torch.equal(halves[0], halves[1])  # the fit of an image does not go by chance


def test_synonyms_of_which_the_best_counts_stay_those_of_classes_without_examples():
    torch.manual_seed(0)
    rows = F.normalize(torch.randn(5, 16), dim=1)
    words = Classifier(rows, torch.tensor([0, 0, 1, 1, 2]), 3, 100.0, aggregation='max')
    vectors = F.normalize(torch.randn(2, 16), dim=1)
    none = torch.zeros(0, dtype=torch.int64)
    classes = torch.tensor([0, 0])
    # Of class 0 one row is left; class 1 has its two.
    support = support_from(words, vectors, classes, classes, vectors[:0], none, vectors.mean(0))
    assert support.class_index.tolist() == [0, 1, 1, 2]
    classifier = prototypes(support)
    assert classifier.scores(torch.randn(1, 16, 2, 2)).shape == (1, 3, 2, 2)
    assert classifier.origin == ('exemplar', 'derived', 'derived', 'derived')


def test_classes_of_two_kinds_learn_from_their_own_kind():
    torch.manual_seed(0)
    kinds = torch.arange(CLASSES) % 2
    directions = F.normalize(torch.randn(4, DIM, dtype=torch.float64), dim=1)
    noise = 0.3 * F.normalize(torch.randn(CLASSES, DIM, dtype=torch.float64), dim=1)
    text = F.normalize(directions[kinds] + noise, dim=1)
    visual = F.normalize(text + directions[2:][kinds], dim=1)  # each kind has its own gap
    words = Classifier(text.float(), torch.arange(CLASSES), CLASSES, 100.0)
    classes = torch.arange(0, 8)  # 4 of each kind, an image each
    none = torch.zeros(0, dtype=torch.int64)
    support = support_from(
        words, visual[classes], classes, classes, visual[:0], none, visual[:8].mean(0)
    )
    without = torch.arange(8, CLASSES)
    own, plain = (
        (rule(support).weight.double() * visual).sum(1)[without].mean()
        for rule in (RULES['kindred'], RULES['proto'])
    )
    assert own > plain + 0.05 and own > 0.95
    with pytest.raises(UserError, match='reach of kindred must be positive'):
        RULES['kindred'](support, reach=0.0)


def test_guessed_rows_get_half_of_what_a_class_loses_that_is_guessed_from_the_others():
    world = VectorWorld.make(CLASSES, DIM, 0)
    full, half = world.support(3, torch.arange(CLASSES)), world.support(3, HALF)
    assert not RULES['kindred'](full).bias.any()
    bias = RULES['kindred'](half).bias
    assert not bias[half.has].any() and len(bias[~half.has].unique()) == 1
    lost = []
    for label in HALF.tolist():
        # The same without the examples of one class.
        less = half.without(half.entry == label)
        guessed, own = (RULES['kindred'](each).weight[label].double() for each in (less, half))
        lost.append(float(half.means[label] @ (own - guessed)))
    assert float(bias.max()) == pytest.approx(sum(lost) / len(lost) / 2, rel=0.1)
    assert float(bias.max()) > 0.01


def test_a_name_without_meaning_leaves_a_class_to_its_examples():
    world = VectorWorld.make(CLASSES, DIM, 1)
    test = world.images(6)
    support = world.support(3, torch.arange(0, CLASSES, 3))
    # The words of class 9 are those of something else.
    support.rows[9] = F.normalize(torch.randn(DIM, dtype=torch.float64), dim=0)
    misled = world.iou(support.classifier(support.rows), test)[9]
    support.nameless[9] = True
    for rule in ('proto', 'bayes'):
        assert world.iou(RULES[rule](support), test)[9] > max(50, misled + 20)


def test_sums_of_two_banks_are_those_of_both_and_come_apart_again():
    torch.manual_seed(0)
    vectors, samples = torch.randn(6, 8), torch.randn(30, 8)
    classes, rows = torch.tensor([0, 1, 1, 2, 0, 2]), torch.arange(6).repeat_interleave(5)
    whole = Stats.of(vectors, classes, samples, rows, 3)
    first = Stats.of(vectors[:2], classes[:2], samples[:10], rows[:10], 3)
    second = Stats.of(vectors[2:], classes[2:], samples[10:], rows[10:] - 2, 3)
    for found in (first + second, second + first):
        for name in ('number', 'total', 'scatter'):
            torch.testing.assert_close(
                getattr(found, name), getattr(whole, name), rtol=1e-14, atol=1e-14
            )
        assert (found.freedom, found.groups) == (24, 6)
    left = whole - second
    torch.testing.assert_close(left.scatter, first.scatter, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(left.covariance(), first.covariance(), rtol=1e-12, atol=1e-12)


def test_the_published_precision_is_ours_times_a_factor():
    torch.manual_seed(0)
    count, dim = 30, 6
    covariance = torch.cov(torch.randn(dim, count, dtype=torch.float64))
    unit = torch.eye(dim, dtype=torch.float64)
    published = dim * torch.linalg.pinv((count - 1) * covariance + covariance.trace() * unit)
    ours = torch.linalg.inv(shrunk(covariance, count))
    torch.testing.assert_close(published, dim / (count - 1 + dim) * ours)


def test_leave_one_out_by_subtraction_is_that_of_banks_made_anew():
    world = VectorWorld.make(6, 16, 0)
    support = world.support(3, torch.arange(4))
    out = support.image == support.image[0]
    rest = support.without(out)
    stays = ~out[support.sample_row]
    row = (~out).long().cumsum(0) - 1
    anew = Stats.of(
        support.vectors[~out],
        support.entry[~out],
        support.samples[stays],
        row[support.sample_row[stays]],
        6,
    )
    for name in ('number', 'total', 'scatter'):
        torch.testing.assert_close(getattr(rest.stats, name), getattr(anew, name))
    chosen = leave_one_out(support, prototypes, (0.0, 0.5, 1.0), 0.5)
    assert chosen.images == len(support.image.unique()) and chosen.weight in (0.0, 0.5, 1.0)
    single = leave_one_out(world.support(1, torch.arange(4)), prototypes, (0.0, 1.0), 0.25)
    assert single.weight == 0.25 and 'the default' in single.said('share')
    with pytest.warns(UserWarning, match=r'leave-one-out over \d+ images'):
        Rule({'name': 'gda', 'alpha': 'loo'})(support)


def test_rows_for_an_image_weigh_one_and_lack_classes_that_were_not_retrieved():
    world = VectorWorld.make(8, 32, 3)
    support = world.support(2, torch.arange(5))
    classifier = Rule({'name': 'rns', 'steps': 5})(support)
    patches = world.image(torch.tensor([0, 1, 7])).flatten(0, 1)
    rows = training_rows(
        patches, classifier.bank, classifier.bank_rows, classifier.weight, classifier.settings
    )
    assert float(rows.weights.sum()) == pytest.approx(1)
    assert len(rows.features) == sum(rows.counts) == len(rows.labels)
    assert rows.counts[2] % 6 == 0 and rows.counts[2] > 0  # class 7 wins patches by its words


def test_without_examples_of_what_is_asked_the_words_stay_exactly():
    vocabulary = Vocabulary.parse('cat; dog')
    words = Classifier(F.normalize(torch.randn(2, 8), dim=1), torch.arange(2), 2, 100.0)
    bank = Bank.empty(EncoderIdentity('a', 'model a'), 8)
    assert bank.support(words, vocabulary) is None


@pytest.mark.parametrize(
    ('rule', 'said'),
    [
        ('proo', "unknown rule 'proo'.*Did you mean"),
        ({'name': 'gda', 'beta': 1}, "unknown setting 'beta' of the rule gda"),
        ({'name': 'rns', 'k': 'loo'}, 'cannot be chosen by leave-one-out'),
    ],
)
def test_rules_that_are_none_are_told(rule, said):
    with pytest.raises(UserError, match=said):
        Rule(rule)
