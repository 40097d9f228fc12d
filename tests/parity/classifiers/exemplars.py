"""Parity with rules of few examples: mask pooling, GDA, Tip-Adapter, Proto-CLIP, RNS."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.exemplars.gda import choose_weight, fit_gaussians
from ovseg.exemplars.pooling import WindowGrid, pool_labels
from ovseg.exemplars.proto_clip import image_prototypes, mixture
from ovseg.exemplars.rns import (
    RNSSettings,
    class_means,
    fit_linear,
    mixtures,
    training_rows,
)
from ovseg.exemplars.tip_adapter import cache_keys, key_scores, search_weights
from parity.report import Case, Tolerance

_UNIT = Tolerance(atol=1e-5)
_RELATIVE = Tolerance(atol=1e-5, rtol=1e-4)
_PROBABILITIES = re.compile(r'p_a([0-9.]+)_b([0-9.]+)')


def _logits(wanted: Tensor) -> Tolerance:
    """Of logits of size 100, by their largest."""
    return Tolerance(atol=1e-5 * max(1.0, float(wanted.abs().max())), rtol=1e-4)


def _precise(wanted: Tensor) -> Tolerance:
    """Of an inverse, by its largest entry."""
    return Tolerance(atol=1e-4 * float(wanted.abs().max()), rtol=1e-4)


def check_pooling(file: Case, folder: Path) -> None:
    """Label maps to a vector a class; the rows of absent ones are 0."""
    config, inputs = file.inner('config'), file.inner('inputs')
    classes, dim = config['classes'], config['dim']
    cells, patch, ignore = (config['height'], config['width']), config['patch'], config['ignore']
    labels = torch.where(inputs['labels'][0] == ignore, 255, inputs['labels'][0])
    features = inputs['features'].reshape(1, dim, *cells)
    size = (cells[0] * patch, cells[1] * patch)
    found = pool_labels(features, labels, WindowGrid([(0, 0, *size)], cells))
    present = torch.zeros(classes, dtype=torch.bool)
    present[found.classes] = True
    visual, pooled = (torch.zeros(classes, dim) for _ in range(2))
    visual[found.classes] = found.vectors
    pooled[found.classes] = found.vectors * found.lengths[:, None]
    file.inner('intermediate').compare(_UNIT, present=present, pooled=pooled)
    file.inner('outputs').compare(_UNIT, visual=visual)


def check_gda(file: Case, folder: Path) -> None:
    """Samples to means, inverse covariance, rows; the weight by validation; logits of a test."""
    config, inputs = file.inner('config'), file.inner('inputs')
    config.use('dim', 'shots')
    times, scale = config['augment_epoch'], config['logit_scale']
    rows = fit_gaussians(
        inputs['raw_features'].repeat(times, 1), inputs['labels'].repeat(times), config['classes']
    )
    factor = rows.published_scale
    between = file.inner('intermediate')
    between.compare(_RELATIVE, mus=rows.means, log_prior=rows.prior)
    between.compare(
        _precise,
        cov_inv=factor * rows.precision,
        W=factor * rows.weight.T,
        b=factor * rows.quadratic + rows.prior,
    )

    def logits(features: Tensor) -> tuple[Tensor, Tensor]:
        words = scale * features.double() @ inputs['text'].double().T
        return words, rows.scores(features, published=True)

    words, added = logits(inputs['val_features'])
    alphas = config['alphas']
    alpha, right = choose_weight(words, added, inputs['val_labels'], alphas)
    between.compare(_logits, val_logits_of_last_alpha=words + alphas[-1] * added)
    words, added = logits(inputs['test_features'])
    test = words + alpha * added
    wanted = file.inner('outputs')
    wanted.compare(_UNIT, alpha=torch.tensor(alpha), val_acc=torch.tensor(right))
    wanted.compare(_logits, test_logits=test)
    hits = (test.argmax(1) == inputs['test_labels']).double().mean()
    wanted.compare(Tolerance(atol=1e-3), test_acc=100 * hits)


def check_tip(file: Case, folder: Path) -> None:
    """Views to keys, the grid search, logits of a test with first and found weights."""
    config, inputs = file.inner('config'), file.inner('inputs')
    config.use('dim', 'shots', 'augment_epoch')
    inputs.use('test_labels')
    keys = cache_keys(inputs['views'])
    values = F.one_hot(inputs['labels'], config['classes']).float()
    file.inner('intermediate').compare(_UNIT, cache_keys=keys, cache_values=values)
    scale = config['logit_scale']

    def parts(features: Tensor) -> tuple[Tensor, Tensor]:
        return scale * features @ inputs['text'].T, features @ keys.T

    words, cosines = parts(inputs['val_features'])
    steps = config['search_scale'], config['search_step']
    beta, alpha = search_weights(words, cosines, values, inputs['val_labels'], *steps)
    wanted = file.inner('outputs')
    wanted.compare(_UNIT, beta=torch.tensor(beta), alpha=torch.tensor(alpha))
    words, cosines = parts(inputs['test_features'])
    for name, own_alpha, own_beta in (
        ('init', config['init_alpha'], config['init_beta']),
        ('best', alpha, beta),
    ):
        logits = words + own_alpha * key_scores(cosines, values, own_beta)
        wanted.compare(_logits, {f'test_logits_{name}': logits})


def check_proto_clip(file: Case, folder: Path) -> None:
    """Mixed probabilities for the weights that the names of the outputs state."""
    config, inputs = file.inner('config'), file.inner('inputs')
    config.use('dim', 'shots')
    visual = image_prototypes(inputs['features'], inputs['labels'], config['classes'])
    file.inner('intermediate').compare(_UNIT, image_prototypes=visual)
    query = F.normalize(inputs['query'], dim=1)
    wanted = file.inner('outputs')
    for name in wanted:
        found = _PROBABILITIES.fullmatch(name)
        if found:
            alpha, beta = map(float, found.groups())
            cosines = (query @ rows.T for rows in (visual, inputs['text']))
            wanted.compare(_UNIT, {name: mixture(*cosines, alpha, beta)})


def check_rns(file: Case, folder: Path) -> None:
    """A bank and an image to training rows, the fit and probabilities of its patches."""
    config, inputs = file.inner('config'), file.inner('inputs')
    config.use('dim', 'support_images', 'height', 'width')
    inputs.use('drop_classes')  # the bank lacks them already
    settings = _rns_settings(config)
    present, text = inputs['bank_present'].flatten(), inputs['text']
    places = present.nonzero()[:, 0]
    bank, classes = inputs['bank'].flatten(0, 1)[places], places % config['classes']
    patches = inputs['features'].flatten(2)[0].T
    rows = training_rows(patches, bank, classes, text, settings)
    visual = class_means(bank, classes, config['classes'])
    mixed = mixtures(visual, text, settings.visual_weights).flatten(0, 1)
    between = file.inner('intermediate')
    between.compare(
        _UNIT,
        visual=visual,
        mixed=mixed,
        global_class_scores=rows.class_scores,
        train_features=rows.features,
        train_labels=rows.labels.float(),
        train_weights=rows.weights,
    )
    between.compare(
        Tolerance(),
        mixed_labels=torch.arange(len(text)),
        retrieved_index=places[rows.retrieved],
        counts=list(rows.counts),
    )
    fit = fit_linear(rows, inputs['init_weight'], settings)
    unit = F.normalize(patches, dim=1)
    file.inner('outputs').compare(Tolerance(rtol=1e-4), loss=torch.tensor(fit.loss))
    file.inner('outputs').compare(
        _UNIT,
        weight=fit.weight,
        bias=fit.bias,
        probs=(unit @ fit.weight.T + fit.bias).softmax(1),
    )


def _rns_settings(config: Case) -> RNSSettings:
    """The fit that a case states; what it leaves out is as published."""
    names: dict[str, Any] = {
        name: config[name] for name in RNSSettings.__dataclass_fields__ if name in config
    }
    names['visual_weights'] = tuple(config['visual_weights'])
    return RNSSettings(**names)
