"""The world of Scenes: what exists in it, and what is in the scene of a given number."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

MATERIALS = ('sky', 'grass', 'sand', 'water', 'snow', 'brick wall', 'wooden floor')
OBJECTS = (
    'star',
    'heart',
    'ball',
    'donut',
    'flower',
    'fish',
    'mushroom',
    'kite',
    'leaf',
    'target',
)
COLORS: dict[str, tuple[int, int, int]] = {
    'red': (214, 34, 40),
    'orange': (245, 133, 24),
    'yellow': (248, 216, 40),
    'green': (40, 160, 60),
    'blue': (36, 84, 216),
    'purple': (128, 50, 176),
    'pink': (248, 130, 186),
    'black': (44, 44, 48),
}
# One colour of each object is never drawn and never named in training; every colour is held out of
# one object at least, so that each word of a held-out phrase is known and only the pair is new.
HELDOUT: dict[str, str] = {
    'star': 'red',
    'heart': 'blue',
    'ball': 'green',
    'donut': 'purple',
    'flower': 'orange',
    'fish': 'yellow',
    'mushroom': 'pink',
    'kite': 'black',
    'leaf': 'red',
    'target': 'blue',
}
# The seen pairs that stand beside the held-out ones in the phrase test: same objects, every colour.
SEEN_PARTNER: dict[str, str] = {
    'star': 'blue',
    'heart': 'red',
    'ball': 'purple',
    'donut': 'pink',
    'flower': 'yellow',
    'fish': 'orange',
    'mushroom': 'red',
    'kite': 'green',
    'leaf': 'green',
    'target': 'black',
}

Split = Literal['train', 'val', 'heldout', 'phrases', 'demo']
# The number of a split is part of every scene's seed: no two splits share a scene.
SPLITS: dict[str, int] = {'train': 0, 'val': 1, 'heldout': 2, 'phrases': 3, 'demo': 4}

CANVAS = 192
_UPPER = ('sky', 'sky', 'sky', 'brick wall')
_LOWER = ('grass', 'sand', 'water', 'snow', 'wooden floor')
# Largest turn from upright, degrees; 180 where any way up is natural.
_TURN = {'star': 180, 'flower': 180, 'leaf': 180, 'ball': 180, 'donut': 180, 'target': 180}


@dataclass(frozen=True)
class Region:
    """A material that fills everything beyond a wavy line.

    The region holds the points with ``nx * x + ny * y + wave * sin(freq * t + phase) > offset``,
    `t` running along the line; lengths in pixels of the canvas.

    Attributes:
        material: index into ``MATERIALS``.
        normal: (nx, ny), unit vector into the region.
        offset: distance of the line from the origin along the normal.
        wave: amplitude of the line's wave.
        frequency: of the wave, radians per pixel.
        phase: of the wave, radians.
        texture_shift: (x, y), which part of the endless texture is seen.
        tint: factors of the three colour channels.
    """

    material: int
    normal: tuple[float, float]
    offset: float
    wave: float
    frequency: float
    phase: float
    texture_shift: tuple[float, float]
    tint: tuple[float, float, float]


@dataclass(frozen=True)
class Thing:
    """An object in a scene; lengths in pixels of the canvas.

    Attributes:
        kind: index into ``OBJECTS``.
        color: index into ``COLORS``.
        center: (x, y).
        diameter: width of the square that the upright object fills.
        angle: counter-clockwise turn in degrees.
        mirrored: flipped left to right before turning.
        tint: factors of the three colour channels.
    """

    kind: int
    color: int
    center: tuple[float, float]
    diameter: float
    angle: float
    mirrored: bool
    tint: tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """Everything in a scene, back to front.

    Attributes:
        size: (height, width) of the canvas in pixels.
        regions: the first covers all, each later one lies over the earlier.
        things: each later one lies over the earlier.
    """

    size: tuple[int, int]
    regions: tuple[Region, ...]
    things: tuple[Thing, ...]


@cache
def allowed_pairs(split: str) -> tuple[tuple[int, int], ...]:
    """Returns the (object, colour) index pairs that a split draws from.

    Args:
        split: a key of ``SPLITS``. 'train' and 'val' never hold a held-out pair, 'heldout' holds
            only these, 'phrases' these and one seen pair of each object, 'demo' has all.

    Raises:
        ValueError: unknown split.

    Example:
        >>> len(allowed_pairs('train')), len(allowed_pairs('heldout'))
        (70, 10)
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {list(SPLITS)}, got '{split}'")
    colors = list(COLORS)
    heldout = {(OBJECTS.index(kind), colors.index(color)) for kind, color in HELDOUT.items()}
    partner = {(OBJECTS.index(kind), colors.index(color)) for kind, color in SEEN_PARTNER.items()}
    every = [(kind, color) for kind in range(len(OBJECTS)) for color in range(len(colors))]
    chosen = {
        'train': set(every) - heldout,
        'val': set(every) - heldout,
        'heldout': heldout,
        'phrases': heldout | partner,
        'demo': set(every),
    }[split]
    return tuple(sorted(chosen))


def scene_random(split: str, index: int, seed: int) -> np.random.Generator:
    """Returns the random numbers that belong to one scene and to no other.

    Args:
        split: a key of ``SPLITS``.
        index: number of the scene in its split, any size.
        seed: number of the whole data set.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {list(SPLITS)}, got '{split}'")
    return np.random.Generator(np.random.PCG64([seed, SPLITS[split], index]))


def sample_scene(
    split: str,
    index: int,
    seed: int = 0,
    size: tuple[int, int] = (CANVAS, CANVAS),
    few_kinds: float = 0.0,
) -> Scene:
    """Returns what is in a scene: a pure function of its arguments.

    Args:
        split: a key of ``SPLITS``.
        index: number of the scene in its split.
        seed: number of the whole data set.
        size: (height, width) of the canvas in pixels; objects are 44 to 96 pixels wide.
        few_kinds: see :func:`drawn_pairs`.

    Example:
        >>> sample_scene('val', 3) == sample_scene('val', 3)
        True
    """
    rng = scene_random(split, index, seed)
    return draw_lots(rng, drawn_pairs(rng, split, few_kinds), size)


def drawn_pairs(
    rng: np.random.Generator, split: str, few_kinds: float
) -> tuple[tuple[int, int], ...]:
    """The (object, colour) index pairs of a scene to come.

    Args:
        rng: chooses.
        split: see :func:`allowed_pairs`.
        few_kinds: share, in [0, 1], of scenes whose objects are of two kinds: several of one kind,
            in several colours, are likely there. At 0 nothing is drawn.
    """
    pairs = allowed_pairs(split)
    if not few_kinds or rng.uniform() >= few_kinds:
        return pairs
    kinds = set(rng.permutation(len(OBJECTS))[:2].tolist())
    return tuple(pair for pair in pairs if pair[0] in kinds)


def draw_lots(
    rng: np.random.Generator,
    pairs: tuple[tuple[int, int], ...],
    size: tuple[int, int] = (CANVAS, CANVAS),
) -> Scene:
    """Samples a scene from a random generator (see :func:`sample_scene`)."""
    return Scene(size, _regions(rng, size), _things(rng, pairs, size))


def _tint(rng: np.random.Generator, spread: float) -> tuple[float, float, float]:
    brightness, *channels = rng.uniform(-1, 1, 4)
    low, mid, high = (1 + spread * brightness + 0.4 * spread * channel for channel in channels)
    return (low, mid, high)


def _region(
    rng: np.random.Generator, material: str, angle: float, through: tuple[float, float]
) -> Region:
    normal = (float(np.cos(angle)), float(np.sin(angle)))
    uniform = rng.uniform(0, 1, 5)
    return Region(
        material=MATERIALS.index(material),
        normal=normal,
        offset=normal[0] * through[0] + normal[1] * through[1],
        wave=8 * uniform[0],
        frequency=0.02 + 0.08 * uniform[1],
        phase=2 * np.pi * uniform[2],
        texture_shift=(1024 * uniform[3], 1024 * uniform[4]),
        tint=_tint(rng, 0.12),
    )


def _regions(rng: np.random.Generator, size: tuple[int, int]) -> tuple[Region, ...]:
    """One to three materials: something above, one or two kinds of ground below."""
    height, width = size
    everywhere = (width / 2, -10.0 * height)
    down = np.pi / 2
    lower = list(rng.permutation(_LOWER)[:2])
    layout = rng.uniform()
    regions = []
    if layout < 0.75:
        upper = _UPPER[rng.integers(len(_UPPER))]
        regions.append(_region(rng, upper, down, everywhere))
        horizon = height * rng.uniform(0.25, 0.65)
        tilt = 0.0 if upper == 'brick wall' else rng.normal(0, 0.06)
        regions.append(_region(rng, lower[0], down + tilt, (width / 2, horizon)))
    else:
        regions.append(_region(rng, lower[0], down, everywhere))
        horizon = 0.0
    if rng.uniform() < 0.6:
        # The second ground: nearer to us, or to the left or right.
        side = (down, 0.35, np.pi - 0.35)[rng.integers(3)]
        through = (width * rng.uniform(0.35, 0.65), horizon + (height - horizon) * 0.55)
        second = _region(rng, lower[1], side + rng.normal(0, 0.15), through)
        regions.append(second)
        if side != down and layout < 0.75:
            # Nothing of the ground reaches above the horizon: the upper material comes last.
            first = regions[1]
            flipped = (-first.normal[0], -first.normal[1])
            above = Region(
                regions[0].material,
                flipped,
                -first.offset,
                -first.wave,
                -first.frequency,
                first.phase,
                regions[0].texture_shift,
                regions[0].tint,
            )
            regions.append(above)
    return tuple(regions)


def _things(
    rng: np.random.Generator, pairs: tuple[tuple[int, int], ...], size: tuple[int, int]
) -> tuple[Thing, ...]:
    """Two to six objects for each 192 x 192 pixels, spread out, overlapping now and then."""
    height, width = size
    count = max(1, round(rng.integers(2, 7) * height * width / CANVAS**2))
    things: list[Thing] = []
    for _ in range(count):
        kind, color = pairs[rng.integers(len(pairs))]
        diameter = float(np.exp(rng.uniform(np.log(44), np.log(96))))
        for _ in range(4):
            center = (float(rng.uniform(0, width)), float(rng.uniform(0, height)))
            distances = [
                np.hypot(center[0] - other.center[0], center[1] - other.center[1])
                / (diameter + other.diameter)
                for other in things
            ]
            if not distances or min(distances) > 0.42:
                break
        else:
            if min(distances) < 0.3:
                continue
        turn = _TURN.get(OBJECTS[kind], 25)
        things.append(
            Thing(
                kind=kind,
                color=color,
                center=center,
                diameter=diameter,
                angle=float(rng.uniform(-turn, turn)),
                mirrored=bool(rng.uniform() < 0.5),
                tint=_tint(rng, 0.08),
            )
        )
    return tuple(things)
