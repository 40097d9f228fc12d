"""Captions of Scenes: they name what a picture shows, in the words that a person would use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ovseg.scenes.draw import Picture
from ovseg.scenes.world import COLORS, MATERIALS, OBJECTS, Scene

# Share of the picture from which on something is worth naming.
_MATERIAL_SHARE = 0.06
_OBJECT_SHARE = 0.03
# A caption fits the tiny CLIP's 20 tokens.
_MOST_OBJECTS = 3
_MOST_MATERIALS = 2
_MOST_THINGS = 4
_MATERIAL_PHRASES = {
    'sky': ('sky', 'the sky', 'a sky'),
    'grass': ('grass', 'the grass', 'some grass'),
    'sand': ('sand', 'the sand', 'some sand'),
    'water': ('water', 'the water', 'some water'),
    'snow': ('snow', 'the snow', 'some snow'),
    'brick wall': ('brick wall', 'a brick wall', 'the brick wall'),
    'wooden floor': ('wooden floor', 'a wooden floor', 'the wooden floor'),
}
_FRAMES = ('{}', '{}', '{}', 'a picture of {}', 'a photo of {}', 'a drawing of {}')
_LINKS = ('on', 'and', 'with')
CAPTION_WORDS = tuple(
    dict.fromkeys(
        word
        for phrase in (
            *COLORS,
            *OBJECTS,
            *(phrase for phrases in _MATERIAL_PHRASES.values() for phrase in phrases),
            *_LINKS,
            *(frame.replace('{}', 'a an') for frame in _FRAMES),
        )
        for word in phrase.split()
    )
)


@dataclass(frozen=True)
class Caption:
    """A caption, and what it says apart from the wording.

    Attributes:
        text: the words.
        content: (object, colour) index pairs, colour -1 if not said, and (-1, material). Captions
            of equal content mean the same, however they are worded.
    """

    text: str
    content: frozenset[tuple[int, int]]


def with_article(noun: str) -> str:
    """Returns the noun with 'a' or 'an' before it.

    Example:
        >>> with_article('orange star')
        'an orange star'
    """
    return f'{"an" if noun[0] in "aeiou" else "a"} {noun}'


def visible(
    scene: Scene, picture: Picture, least: float = _OBJECT_SHARE
) -> tuple[list[int], list[tuple[int, int]]]:
    """Returns what a person would see: materials, and (object, colour) pairs, largest first.

    Args:
        scene: the scene drawn.
        picture: the view of it, with what is where.
        least: share of the picture that an object must have.
    """
    areas = np.bincount(picture.owner.ravel(), minlength=len(MATERIALS) + len(scene.things))
    shares = areas / picture.owner.size
    order = np.argsort(-shares, kind='stable')
    materials = [int(i) for i in order if i < len(MATERIALS) and shares[i] >= _MATERIAL_SHARE]
    things = [
        scene.things[i - len(MATERIALS)]
        for i in order
        if i >= len(MATERIALS) and shares[i] >= least
    ]
    # dict: each pair once, in order.
    return materials, list(dict.fromkeys((thing.kind, thing.color) for thing in things))


def caption(
    scene: Scene, picture: Picture, rng: np.random.Generator, in_colour: bool = True
) -> Caption:
    """Returns a caption of a view, in one of many wordings.

    Colours and materials are left out now and then, as people do; nothing that cannot be seen is
    ever named.

    Args:
        scene: the scene drawn.
        picture: the view of it.
        rng: chooses the wording.
        in_colour: False for a grey picture, of which no colour is said.
    """
    materials, pairs = visible(scene, picture)
    pairs = pairs[:_MOST_OBJECTS]
    materials = materials[: min(_MOST_MATERIALS, _MOST_THINGS - len(pairs))]
    if pairs and rng.uniform() < 0.15:
        materials = []
    said_colors = (rng.uniform(size=len(pairs)) < 0.5) & in_colour
    content = [
        (kind, color if said else -1)
        for (kind, color), said in zip(pairs, said_colors, strict=True)
    ]
    things = [_object_phrase(kind, color) for kind, color in dict.fromkeys(content)]
    places = [_pick(rng, _MATERIAL_PHRASES[MATERIALS[m]]) for m in materials]
    content += [(-1, material) for material in materials]
    things = [things[i] for i in rng.permutation(len(things))]
    places = [places[i] for i in rng.permutation(len(places))]
    link = _pick(rng, _LINKS)
    text = ' and '.join(things)
    if places:
        text = f'{text} {link} ' if things else ''
        text += ' and '.join(places)
    return Caption(_pick(rng, _FRAMES).format(text), frozenset(content))


def describe(scene: Scene, picture: Picture) -> str:
    """Returns the plain caption of a picture: everything that can be seen, largest first."""
    materials, pairs = visible(scene, picture, least=0.005)
    things = [_object_phrase(kind, color) for kind, color in pairs]
    places = [MATERIALS[m] for m in materials]
    text = ', '.join(things)
    if places:
        text += (' on ' if things else '') + ' and '.join(places)
    return text


def _object_phrase(kind: int, color: int) -> str:
    noun = OBJECTS[kind] if color < 0 else f'{list(COLORS)[color]} {OBJECTS[kind]}'
    return with_article(noun)


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[rng.integers(len(options))]
