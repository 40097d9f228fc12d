"""Parity with ReCo's co-segmentation and FreeDA's masks of prototypes."""

from __future__ import annotations

from pathlib import Path

from ovseg.regions.cosegmentation import context_weights, cosegment, prototype_scores
from parity.report import Case, Tolerance

_UNIT = Tolerance(atol=1e-5)


def check_cosegment(file: Case, folder: Path) -> None:
    """ReCo: seeds as the released code finds them, and its three references."""
    file.use('config')
    inputs, between = file.inner('inputs'), file.inner('intermediate')
    features, weights = inputs['features'], inputs['weights']
    between.compare(_UNIT, context_weights=context_weights(features, inputs['context']))
    patches = list(features.flatten(2).transpose(1, 2))
    counted = list(weights.flatten(1))
    outputs = file.inner('outputs')
    for kind in outputs:
        reference, seeds = cosegment(patches, counted, kind, published=True)
        outputs.compare(_UNIT, {kind: reference})
        between.compare(_UNIT, seed_features=seeds)


def check_masker(file: Case, folder: Path) -> None:
    """FreeDA: similarities and masks; the key says how much the largest counts."""
    file.use('config')
    inputs, outputs = file.inner('inputs'), file.inner('outputs')
    features, prototypes = inputs['features'], inputs['prototypes']
    for key in outputs:
        name, _, share = key.partition('_max')
        scores = prototype_scores(features, prototypes, float(share))
        outputs.compare(_UNIT, {key: scores if name == 'sim' else scores.sigmoid()})
