"""The energy is that of the logits which a rule of examples decides by, or it is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from vector_worlds import VectorWorld

from ovseg.errors import UserError
from ovseg.evaluation.doubt import doubt_of
from ovseg.exemplars import RULES
from ovseg.vocabulary import Rejection

WITH_ENERGY = ('proto', 'kindred', 'bayes', 'gda', 'tip')


@pytest.fixture(scope='module')
def support():
    made = VectorWorld.make(6, 32, 0).support(2, torch.arange(6))
    words = replace(
        made.words,
        class_index=torch.arange(6) + 1,
        num_classes=7,
        rejection=Rejection('threshold'),
        background_index=0,
    )
    return replace(made, words=words, class_index=made.class_index + 1)


@pytest.fixture(scope='module')
def features():
    generator = torch.Generator().manual_seed(3)
    return torch.randn(1, 32, 5, 8, generator=generator)


@pytest.mark.parametrize('name', WITH_ENERGY)
def test_an_energy_is_the_free_energy_of_the_logits_that_decide(support, features, name):
    classifier = RULES[name](support)
    scores = classifier.row_scores(features)
    logits = classifier.logit_scale * scores.double()
    energy = -logits.logsumexp(1) / classifier.logit_scale
    limit = float(energy.median())
    rule = replace(classifier, rejection=Rejection('energy', energy=limit)).rule()
    # The same logits make the probabilities, so that one scale is meant throughout.
    torch.testing.assert_close(rule.probabilities(scores)[:, 1:], logits.softmax(1).float())
    torch.testing.assert_close(rule.evidence(scores).energy, energy.float(), rtol=1e-4, atol=1e-5)
    clear = (energy - limit).abs() > 1e-5
    assert torch.equal((rule.decide(scores) == 0)[clear], (energy > limit)[clear])
    assert 0 < int((energy > limit)[clear].sum()) < int(clear.sum())


def test_probabilities_have_no_energy_and_none_is_fitted(support, features):
    classifier = RULES['proto-clip'](support)
    scores = classifier.row_scores(features)
    total = (classifier.logit_scale * scores).logsumexp(1)
    torch.testing.assert_close(total, torch.zeros_like(total), atol=1e-5, rtol=0)
    with pytest.raises(UserError, match='its scores are probabilities; take a threshold or a marg'):
        doubt_of('energy').read(classifier.rule().evidence(scores))
    chain = Rejection.build('margin=0.1, energy=-0.2')
    stated = replace(support, words=replace(support.words, rejection=chain))
    with pytest.raises(UserError, match='rule of examples has none of'):
        RULES['proto-clip'](stated)
    allowed = replace(support.words, rejection=Rejection.build('margin=0.1'))
    assert RULES['proto-clip'](replace(support, words=allowed)).rule().decide(scores).any()
