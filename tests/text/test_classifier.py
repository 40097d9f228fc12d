"""Scores, probabilities and labels against the plain computation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ovseg.text import Classifier
from ovseg.vocabulary import Rejection

LAYOUTS = [
    ([0, 1, 2, 3], 4),
    ([0, 0, 0, 1, 2, 2], 3),
    ([1, 2, 3], 4),
    ([1, 1, 3], 5),
]
AGGREGATIONS = ['linear', 'max', 'mean', 'max_score', 'lse']
BEST = ('max', 'max_score')


def make(index, num_classes, aggregation='linear', rejection=None, dim=8, **fields):
    random = torch.Generator().manual_seed(len(index) + num_classes)
    rejection = rejection or Rejection()
    return Classifier(
        weight=F.normalize(torch.randn(len(index), dim, generator=random), dim=1),
        class_index=torch.tensor(index),
        num_classes=num_classes,
        logit_scale=12.0,
        aggregation=aggregation,
        rejection=rejection,
        background_index=0 if rejection.rejects else None,
        **fields,
    )


def features(*size, seed=0, dim=8):
    return torch.randn(size[0], dim, *size[1:], generator=torch.Generator().manual_seed(seed))


def plain_class_scores(classifier, rows):
    """Class by class, as the docstring defines it."""
    scores = []
    for label in range(classifier.num_classes):
        own = classifier.class_index == label
        of_class, weight = rows[:, own], classifier.row_weight[own][:, None, None]
        if not own.any():
            scores.append(torch.full_like(rows[:, 0], -torch.inf))
        elif classifier.aggregation in BEST:
            scores.append(of_class.amax(1))
        elif classifier.aggregation == 'lse':
            sums = (weight.double() * (12 * of_class.double()).exp()).sum(1)
            scores.append((sums.log() / 12).to(rows.dtype))
        else:
            total = (of_class * weight).sum(1)
            scores.append(total / weight.sum() if classifier.aggregation == 'mean' else total)
    return torch.stack(scores, 1)


@pytest.mark.parametrize('aggregation', AGGREGATIONS)
@pytest.mark.parametrize(('index', 'num_classes'), LAYOUTS)
def test_class_scores_equal_the_definition(index, num_classes, aggregation):
    weight = torch.ones(len(index)) if aggregation in BEST else torch.arange(1.0, len(index) + 1)
    bias = torch.linspace(-1, 1, len(index))
    classifier = make(index, num_classes, aggregation, row_weight=weight, bias=bias)
    image = features(2, 3, 5)
    rows = classifier.row_scores(image)
    cosines = torch.einsum('pd,bdhw->bphw', classifier.weight, F.normalize(image, dim=1))
    torch.testing.assert_close(rows, cosines + bias[:, None, None])
    torch.testing.assert_close(classifier.scores(image), plain_class_scores(classifier, rows))


@pytest.mark.parametrize('aggregation', ['linear', 'mean'])
@pytest.mark.parametrize(('index', 'num_classes'), LAYOUTS)
def test_folding_keeps_scores_and_labels(index, num_classes, aggregation):
    classifier = make(
        index,
        num_classes,
        aggregation,
        row_weight=torch.arange(1.0, len(index) + 1),
        bias=torch.linspace(-1, 1, len(index)),
    )
    folded = classifier.folded()
    image = features(1, 4, 4)
    assert len(folded.weight) == len(set(index))
    torch.testing.assert_close(folded.scores(image), classifier.scores(image))
    assert torch.equal(
        folded.rule().decide(folded.row_scores(image)),
        classifier.rule().decide(classifier.row_scores(image)),
    )


@pytest.mark.parametrize('aggregation', ['max', 'max_score', 'lse'])
def test_what_is_not_linear_does_not_fold(aggregation):
    classifier = make([0, 0, 1], 2, aggregation)
    assert classifier.folded() is classifier


@pytest.mark.parametrize('aggregation', ['max_score', 'lse'])
def test_one_row_a_class_folds_whatever_the_rule(aggregation):
    weights = {'row_weight': torch.tensor([0.5, 2.0])} if aggregation == 'lse' else {}
    classifier = make([1, 2], 3, aggregation, bias=torch.tensor([0.1, 0.0]), **weights)
    folded = classifier.folded()
    assert folded.aggregation == 'linear'
    image = features(1, 4, 4)
    torch.testing.assert_close(folded.scores(image), classifier.scores(image), atol=1e-6, rtol=0)


def test_log_sums_add_probabilities_and_stay_finite():
    classifier = make([0, 0, 1], 2, 'lse')
    rows = classifier.row_scores(features(1, 5, 5))
    shares = (12 * rows).softmax(1)
    expected = torch.stack([shares[:, :2].sum(1), shares[:, 2]], 1)
    torch.testing.assert_close(classifier.rule().probabilities(rows), expected)
    torch.testing.assert_close(
        classifier.rule(are_probabilities=True).probabilities(shares), expected
    )
    far = torch.tensor([-90.0, -91.0, 90.0]).reshape(1, 3, 1, 1)
    assert classifier.groups.class_scores(far).isfinite().all()


@pytest.mark.parametrize('aggregation', AGGREGATIONS)
@pytest.mark.parametrize(('index', 'num_classes'), LAYOUTS)
def test_probabilities_equal_the_definition(index, num_classes, aggregation):
    classifier = make(index, num_classes, aggregation)
    rows = classifier.row_scores(features(2, 3, 5))
    if aggregation == 'max':
        shares = (12 * rows).softmax(1)
        expected = plain_class_scores(classifier, shares).clamp_min(0)
    else:
        expected = (12 * plain_class_scores(classifier, rows)).softmax(1)
    probabilities = classifier.rule().probabilities(rows)
    torch.testing.assert_close(probabilities, expected)
    empty = [label for label in range(num_classes) if label not in index]
    assert (probabilities[:, empty] == 0).all()


@pytest.mark.parametrize('threshold', [0.0, 0.75, 0.9])
@pytest.mark.parametrize('aggregation', AGGREGATIONS)
@pytest.mark.parametrize(('index', 'num_classes'), LAYOUTS)
def test_labels_are_best_probabilities_above_the_threshold(
    index, num_classes, aggregation, threshold
):
    classifier = make(index, num_classes, aggregation, Rejection('threshold', threshold))
    rows = classifier.row_scores(features(2, 20, 20))
    probabilities = classifier.rule().probabilities(rows)
    best, expected = probabilities.max(1)
    expected = expected.masked_fill(best < threshold, 0)
    clear = (best - threshold).abs() > 1e-5
    labels = classifier.rule().decide(rows)
    assert labels.dtype == torch.int64
    assert torch.equal(labels[clear], expected[clear])
    assert clear.float().mean() > 0.99
    if threshold:
        assert 0 < (best < threshold).float().mean() < 1


@pytest.mark.parametrize('aggregation', AGGREGATIONS)
def test_strips_give_the_strips_of_the_whole(aggregation):
    classifier = make([0, 0, 1, 2, 2], 3, aggregation, Rejection('threshold', 0.5))
    rows = classifier.row_scores(features(2, 9, 7))
    strips = [classifier.rule().decide(part) for part in rows.split(2, dim=2)]
    assert torch.equal(torch.cat(strips, 1), classifier.rule().decide(rows))


def test_ties_go_to_the_first_class():
    rows = torch.tensor([0.5, 0.5, 0.5]).reshape(1, 3, 1, 1)
    for aggregation in AGGREGATIONS:
        assert make([0, 1, 2], 3, aggregation).rule().decide(rows).item() == 0
        assert make([1, 2, 2], 3, aggregation='max').rule().decide(rows).item() == 1


def test_background_class_of_many_words_rejects_when_one_wins():
    classifier = make([0, 0, 1], 2, 'max', Rejection('class_zero'))
    rows = torch.tensor([[0.1, 0.9, 0.8], [0.1, 0.7, 0.8]]).reshape(2, 3, 1, 1)
    assert classifier.rule().decide(rows).flatten().tolist() == [0, 1]


def test_nothing_is_changed_in_place():
    classifier = make([0, 0, 1], 2, 'max', Rejection('threshold', 0.5))
    image = features(1, 3, 3)
    rows = classifier.row_scores(image)
    copies = image.clone(), rows.clone()
    classifier.rule().decide(rows)
    classifier.rule().probabilities(rows)
    classifier.groups.class_scores(rows)
    assert torch.equal(image, copies[0])
    assert torch.equal(rows, copies[1])


def test_rows_that_are_probabilities_are_only_scaled():
    rows = torch.tensor([[0.2, 0.6, -0.5], [0.1, 0.1, 0.2]]).reshape(2, 3, 1, 1)
    classifier = make([0, 1, 2], 3, 'linear', Rejection('class_zero', 0.6))
    probabilities = classifier.rule(are_probabilities=True).probabilities(rows)
    torch.testing.assert_close(
        probabilities.flatten(1), torch.tensor([[0.25, 0.75, 0.0], [0.25, 0.25, 0.5]])
    )
    assert classifier.rule(are_probabilities=True).decide(rows).flatten().tolist() == [1, 0]
    several = make([0, 0, 1], 2, 'max')
    torch.testing.assert_close(
        several.rule(are_probabilities=True).probabilities(rows).flatten(1),
        torch.tensor([[0.75, 0.0], [0.25, 0.5]]),
    )


def test_pixel_without_any_probability_is_rejected():
    classifier = make([0, 1, 2], 3, 'linear', Rejection('class_zero', 0.1))
    rows = torch.zeros(1, 3, 1, 1)
    assert classifier.rule(are_probabilities=True).probabilities(rows).eq(0).all()
    assert classifier.rule(are_probabilities=True).decide(rows).item() == 0


@pytest.mark.parametrize('aggregation', AGGREGATIONS)
@pytest.mark.parametrize(('index', 'num_classes'), LAYOUTS)
def test_small_classes_are_taken_out_as_the_area_rule_defines_it(index, num_classes, aggregation):
    rule = Rejection('class_zero' if 0 in index else 'threshold', 0.2, min_area=0.5)
    classifier = make(index, num_classes, aggregation, rule)
    rows = classifier.row_scores(features(1, 9, 11))
    shares = classifier.rule().probabilities(rows)[0]
    best = shares.argmax(0)
    assert torch.equal(classifier.rule().best_classes(rows)[0], best)
    counts = torch.stack([(best == label).sum() for label in range(1, num_classes)])
    kept = torch.cat([torch.tensor([True]), counts > 0.5 * counts.sum()])
    assert torch.equal(classifier.rule().large_classes(best[None]), kept) and not kept.all()
    shares[~kept] = 0
    expected = shares.argmax(0)
    expected[shares.amax(0) < 0.2] = 0
    assert torch.equal(classifier.rule(allowed=kept).decide(rows)[0], expected)
    assert torch.equal(classifier.rule(allowed=kept).probabilities(rows)[0], shares)


def test_where_every_class_is_taken_out_the_background_is_left():
    classifier = make([1, 2], 3, rejection=Rejection('threshold', min_area=0.9))
    rows = classifier.row_scores(features(1, 4, 5))
    labels = classifier.rule(allowed=torch.tensor([True, False, False])).decide(rows)
    assert not labels.any()


def test_half_precision_features_are_scored_in_float32():
    classifier = make([0, 1], 2)
    image = features(1, 3, 3)
    exact = classifier.row_scores(image.bfloat16().float())
    with torch.autocast('cpu', torch.bfloat16):
        scores = classifier.row_scores(image.bfloat16())
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, exact)


def test_unit_features_need_no_normalising():
    classifier = make([0, 1], 2)
    image = features(1, 3, 3)
    unit = F.normalize(image, dim=1)
    torch.testing.assert_close(
        classifier.row_scores(unit, normalize=False), classifier.row_scores(image)
    )


def test_features_of_another_size_are_an_error():
    with pytest.raises(ValueError, match=r'features must be \(B, 8, h, w\).* got \(1, 7, 2, 2\)'):
        make([0, 1], 2).row_scores(torch.ones(1, 7, 2, 2))


@pytest.mark.parametrize('method', ['class_scores', 'probabilities', 'decide'])
def test_rows_of_another_classifier_are_an_error(method):
    classifier = make([0, 1], 2)
    owner = classifier.groups if method == 'class_scores' else classifier.rule()
    with pytest.raises(ValueError, match=r'row scores must be \(B, 2, ...\), got \(1, 3, 2, 2\)'):
        getattr(owner, method)(torch.ones(1, 3, 2, 2))


def test_features_of_another_model_are_an_error():
    classifier = make([0, 1], 2, fingerprint='tiny:12')
    classifier.check_model('tiny:12')
    classifier.check_model('')  # features that say nothing of their text space
    make([0, 1], 2).check_model('tiny:12')  # ready rows of no known model
    with pytest.raises(ValueError, match="made by text model 'tiny:12'.*'large:34'"):
        classifier.check_model('large:34')


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'weight': torch.ones(3)}, r'weight must be \(P, D\), got \(3,\)'),
        ({'weight': torch.ones(0, 3)}, r'weight must be \(P, D\), got \(0, 3\)'),
        ({'class_index': torch.tensor([0])}, r'class_index must be \(2,\)'),
        ({'class_index': torch.tensor([0, 2])}, r'must be in 0..1, got 0..2'),
        ({'class_index': torch.tensor([1, 0])}, 'must ascend'),
        ({'bias': torch.zeros(3)}, r'bias must be \(2,\)'),
        ({'origin': ('text',)}, 'name all 2 rows, got 1'),
        ({'aggregation': 'sum'}, "got 'sum'"),
        ({'aggregation': 'max', 'row_weight': torch.tensor([1.0, 2.0])}, 'no row weights'),
        ({'aggregation': 'lse', 'row_weight': torch.tensor([1.0, 0.0])}, 'above 0 only'),
        ({'background_index': 0}, "rejection 'none' does not fit background_index 0"),
    ],
)
def test_contradictions_are_named(fields, message):
    given = {
        'weight': torch.ones(2, 3),
        'class_index': torch.tensor([0, 1]),
        'num_classes': 2,
        'logit_scale': 1.0,
    }
    with pytest.raises(ValueError, match=message):
        Classifier(**{**given, **fields})


def test_moving_to_the_present_device_copies_nothing():
    classifier = make([0, 1], 2)
    assert classifier.to('cpu') is classifier


@pytest.mark.gpu
def test_gpu_gives_the_labels_of_the_cpu():
    classifier = make([0, 0, 1, 2], 3, 'max', Rejection('threshold', 0.4))
    image = features(2, 30, 30)
    expected = classifier.rule().decide(classifier.row_scores(image))
    moved = classifier.to('cuda')
    labels = moved.rule().decide(moved.row_scores(image.cuda())).cpu()
    assert (labels == expected).float().mean() > 0.999
