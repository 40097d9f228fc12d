"""What a model's scores depend on, and whether a fitted rejection rule may look at them."""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from ovseg.precision import ids_of_products
from ovseg.text import Classifier
from ovseg.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ovseg.segmentors.base import Segmentor

# Facts of a protocol that are not of the scores, or that are said here in another way.
_NOT_OF_SCORES = {
    *('vocabulary', 'background', 'logit_scale', 'weights', 'trained_iterations'),
    *('examples', 'rule'),
}
# Where rows come from that examples made.
_OF_EXAMPLES = ('exemplar', 'derived')
_DIGITS = 12
_LONGEST = 200


def competing_names(vocabulary: Vocabulary, classifier: Classifier) -> tuple[str, ...]:
    """Names of the classes that have rows.

    Args:
        vocabulary: the classes.
        classifier: of it.
    """
    return tuple(vocabulary.names[label] for label in classifier.class_index.unique().tolist())


def score_facts(model: Segmentor, classifier: Classifier) -> dict[str, str]:
    """Facts on which a model's scores of some classes depend, for a fitted rule to be known by.

    The same on every machine, device and precision of the products; files count by their content
    and not by their place.

    Args:
        model: that scores.
        classifier: by which rows.
    """
    facts = {
        name: _plain(value)
        for name, value in model.protocol().items()
        if value is not None and name not in _NOT_OF_SCORES
    }
    facts['method'] = type(model).__name__
    facts['weights'] = _weights(model)
    facts['rule'] = 'words'
    taught = model.taught
    if taught is not None and set(_OF_EXAMPLES) & set(classifier.origin):
        facts['rule'] = str(taught.rule)
        bank = taught.bank
        facts['examples'] = 'none' if bank is None else bank.digest[:_DIGITS]
    return facts


def check_fit(model: Segmentor, vocabulary: Vocabulary, classifier: Classifier) -> None:
    """Stops where a rejection rule was fitted to scores of another kind, and says other classes.

    Args:
        model: that scores.
        vocabulary: the classes.
        classifier: of it; its rejection rule is looked at.

    Raises:
        UserError: another model, scale, method or rule of examples.

    Warns:
        Notice: other classes, or settings that move the scores.
    """
    fitted = classifier.rejection.fitted
    if fitted is None:
        return
    if fitted.scores:  # names the model, where that is another: the scale then differs, too
        names = competing_names(vocabulary, classifier)
        fitted.check(names, score_facts(model, classifier))
    fitted.check_scale(classifier.logit_scale)
    if not fitted.scores and fitted.names:
        fitted.check(competing_names(vocabulary, classifier), {})


def _weights(model: nn.Module) -> str:
    """Digits that are others for other weights, and the same in another precision of products.

    What is no product's (norms, positions) is in float32 whatever the precision, and no two
    trainings end at the same.
    """
    digest = blake2b(digest_size=16)
    digest.update(getattr(getattr(model, 'text', None), 'space', '').encode())
    cast = ids_of_products(model)
    for name, value in sorted(model.named_parameters()):
        digest.update(f'{name}:{tuple(value.shape)}'.encode())
        if id(value) not in cast:
            digest.update(value.detach().float().cpu().contiguous().view(-1).numpy().tobytes())
    return digest.hexdigest()[:_DIGITS]


def _plain(value: Any) -> str:
    text = str(value)
    if len(text) > _LONGEST:
        return f'{text[: _LONGEST // 4]}... [{_digits(text.encode())}]'
    try:
        path = Path(text)
        if os.path.isfile(path):
            return f'{path.name} [{_digits(path.read_bytes())}]'
        return path.name if path.is_absolute() and os.path.isdir(path) else text
    except (OSError, ValueError):
        return text


def _digits(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()[:_DIGITS]
