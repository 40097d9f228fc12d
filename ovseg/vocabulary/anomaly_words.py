"""Sentences for two states of an object, whole and damaged: 2 x 462 of them, made of a few words.

Source: AnoVL (arXiv 2308.15939), prompt_ensemble.py of the released code, in its order.
"""

from __future__ import annotations

from ovseg.errors import UserError
from ovseg.vocabulary.templates import fill_template

STATES = ('normal', 'abnormal')
_ADJECTIVES = {
    'normal': ('normal', 'flawless', 'perfect', 'unblemished'),
    'abnormal': ('damaged', 'abnormal', 'imperfect', 'blemished'),
}
_LINK = {'normal': 'without', 'abnormal': 'with'}
_FAULTS = ('flaw', 'defect', 'damage')
# How pictures of a thing, and of a material, are called.
_OF_OBJECTS = ('industrial photo', 'industrial image', 'manufacturing image')
_OF_TEXTURES = ('industrial photo', 'textural photo', 'surface picture')
TEXTURES = frozenset({'carpet', 'leather', 'grid', 'tile', 'wood'})
# Names of the data set VisA that are no words.
_SAID = {'macaroni1': 'macaroni', 'macaroni2': 'macaroni'}
# Looks of a picture, and whether "the" or "a" stands in the first of its two sentences.
_LOOKS = (
    ('cropped', 'the'),
    ('close-up', 'a'),
    ('bright', 'a'),
    ('dark', 'the'),
    ('jpeg corrupted', 'a'),
    ('blurry', 'the'),
)
_SIZES = ('', 'small ', 'large ')
_PURPOSES = ('visual inspection', 'anomaly detection')


def state_phrases(name: str, state: str) -> list[str]:
    """The seven phrases of an object in a state.

    Args:
        name: of the object.
        state: of :data:`STATES`.

    Raises:
        UserError: another state.

    Example:
        >>> state_phrases('bottle', 'abnormal')[0], state_phrases('bottle', 'normal')[-1]
        ('damaged bottle', 'bottle without damage')
    """
    if state not in STATES:
        raise UserError(f'a state is one of {list(STATES)}, got {state!r}')
    name = _SAID.get(name, name)
    before = [f'{adjective} {name}' for adjective in _ADJECTIVES[state]]
    return before + [f'{name} {_LINK[state]} {fault}' for fault in _FAULTS]


def picture_templates(kind: str) -> list[str]:
    """The 22 sentences about pictures of a kind, with ``{}`` for what they show.

    Args:
        kind: such as ``'industrial photo'``; ``'photo'`` for plain ones.

    Example:
        >>> picture_templates('industrial photo')[12]
        'an industrial photo of a {}'
    """
    article = 'an' if kind[0] in 'aeiou' else 'a'
    both = {'a': ('a', 'the'), 'the': ('the', 'a')}
    looks = [f'a {look} {kind} of {this} {{}}' for look, first in _LOOKS for this in both[first]]
    sizes = [f'{article} {kind} of {this} {size}{{}}' for size in _SIZES for this in both['a']]
    purposes = [
        f'{article} {kind} of {this} {{}} for {purpose}'
        for purpose in _PURPOSES
        for this in both['the']
    ]
    return looks + sizes + purposes


def anomaly_sentences(name: str, state: str) -> list[str]:
    """All 462 sentences of an object in a state, template by template.

    Args:
        name: of the object; five materials have templates of their own (:data:`TEXTURES`).
        state: of :data:`STATES`.

    Raises:
        UserError: another state.

    Example:
        >>> len(anomaly_sentences('bottle', 'normal'))
        462
        >>> anomaly_sentences('wood', 'abnormal')[-1]
        'a surface picture of a wood with damage for anomaly detection'
    """
    kinds = _OF_TEXTURES if name in TEXTURES else _OF_OBJECTS
    phrases = state_phrases(name, state)
    templates = [template for kind in kinds for template in picture_templates(kind)]
    return [fill_template(template, phrase) for template in templates for phrase in phrases]
