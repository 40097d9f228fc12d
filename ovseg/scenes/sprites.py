"""The objects of Scenes: shapes that people can name, each with a pattern of its own.

A contrastive model with a handful of layers finds an object where it *looks* like something, so
every object carries its pattern over its whole area: a star has facets, a ball stripes, a fish
scales. The outline and the shape stay what a person would draw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from ovseg.scenes.world import COLORS, OBJECTS

SPRITE = 128
_WORK = 512  # drawn this large, then shrunk: antialiased without cv2's line modes
_INK = (30, 26, 30)
_WHITE = (252, 250, 246)

Paint = tuple[int, int, int]


@dataclass(frozen=True)
class _Paints:
    main: Paint
    dark: Paint
    light: Paint


def _paints(color: int) -> _Paints:
    main = np.array(list(COLORS.values())[color], np.float32)
    dark = main * 0.62
    light = main + (255 - main) * 0.5
    return _Paints(_paint(main), _paint(dark), _paint(light))


def _paint(tone: np.ndarray) -> Paint:
    red, green, blue = (int(channel) for channel in tone)
    return red, green, blue


def _pixels(points: np.ndarray) -> np.ndarray:
    """Points in [-1, 1] (x right, y down) as pixels of the working canvas."""
    return np.round((np.asarray(points) * 0.94 + 1) * _WORK / 2).astype(np.int32)


def _length(unit: float) -> int:
    return max(1, round(unit * 0.94 * _WORK / 2))


def _around(count: int, radius: float, start: float = -90.0) -> np.ndarray:
    angles = np.deg2rad(start + np.arange(count) * 360 / count)
    return radius * np.stack([np.cos(angles), np.sin(angles)], 1)


def _mask(*polygons: np.ndarray) -> np.ndarray:
    mask = np.zeros((_WORK, _WORK), np.uint8)
    for polygon in polygons:
        cv2.fillPoly(mask, [_pixels(polygon)], 255)
    return mask


def _disc(mask: np.ndarray, center: tuple[float, float], radius: float, value: int) -> None:
    x, y = _pixels(np.array(center))
    cv2.circle(mask, (int(x), int(y)), _length(radius), value, -1)


def _plain(color: Paint) -> np.ndarray:
    return np.full((_WORK, _WORK, 3), color, np.uint8)


def _line(image: np.ndarray, start: tuple, end: tuple, color: Paint, width: float) -> None:
    a, b = _pixels(np.array([start, end]))
    cv2.line(image, tuple(map(int, a)), tuple(map(int, b)), color, _length(width))


def _star(p: _Paints) -> tuple[np.ndarray, np.ndarray]:
    tips, notches = _around(5, 1.0), _around(5, 0.45, -54)
    corners = np.stack([tips, notches], 1).reshape(10, 2)
    image = _plain(p.main)
    for i in range(10):
        facet = np.stack([np.zeros(2), corners[i], corners[(i + 1) % 10]])
        cv2.fillPoly(image, [_pixels(facet)], p.dark if i % 2 else p.main)
    return _mask(corners), image


def _heart(p: _Paints) -> tuple[np.ndarray, np.ndarray]:
    t = np.linspace(0, 2 * np.pi, 200)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    image = _plain(p.main)
    for row, y_dot in enumerate(np.arange(-1, 1.1, 0.24)):
        for x_dot in np.arange(-1, 1.1, 0.28) + (0.14 if row % 2 else 0):
            center = _pixels(np.array([x_dot, y_dot]))
            cv2.circle(image, tuple(map(int, center)), _length(0.075), _WHITE, -1)
    return _mask(np.stack([x, -y - 2.5], 1) / 16), image


def _ball(p: _Paints) -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros((_WORK, _WORK), np.uint8)
    _disc(mask, (0, 0), 0.98, 255)
    image = _plain(p.main)
    # Meridians of a beach ball: ellipses of growing width, main and white in turn.
    center = tuple(map(int, _pixels(np.zeros(2))))
    widths = np.sin(np.linspace(0, np.pi / 2, 6))[:0:-1]
    for i, width in enumerate(widths):
        paint = p.main if i % 2 else _WHITE
        cv2.ellipse(image, center, (_length(width), _length(1.0)), 0, 0, 360, paint, -1)
    return mask, image


def _donut(p: _Paints) -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros((_WORK, _WORK), np.uint8)
    _disc(mask, (0, 0), 0.98, 255)
    _disc(mask, (0, 0), 0.3, 0)
    image = _plain(p.main)
    rng = np.random.Generator(np.random.PCG64(11))
    crumbs = (_WHITE, (255, 232, 120), (150, 230, 250), p.dark)
    for ring, count in ((0.42, 8), (0.64, 13), (0.86, 18)):
        for i, (x, y) in enumerate(_around(count, ring, rng.uniform(0, 90))):
            lean = rng.uniform(0, np.pi)
            dx, dy = 0.07 * np.cos(lean), 0.07 * np.sin(lean)
            _line(image, (x - dx, y - dy), (x + dx, y + dy), crumbs[i % 4], 0.06)
    return mask, image


def _flower(p: _Paints) -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros((_WORK, _WORK), np.uint8)
    image = _plain(p.main)
    for (x, y), (x2, y2) in zip(_around(6, 0.6), _around(6, 0.98), strict=True):
        _disc(mask, (x, y), 0.39, 255)
        _line(image, (0, 0), (0.93 * x2, 0.93 * y2), p.dark, 0.07)
        for turn in (-0.26, 0.26):
            c, s = np.cos(turn), np.sin(turn)
            end = 0.85 * np.array([c * x2 - s * y2, s * x2 + c * y2])
            _line(image, (0, 0), tuple(end), p.light, 0.05)
    _disc(mask, (0, 0), 0.4, 255)
    _disc_on(image, (0, 0), 0.3, (250, 206, 50))
    _disc_on(image, (0, 0), 0.14, (176, 112, 30))
    return mask, image


def _disc_on(image: np.ndarray, center: tuple, radius: float, color: Paint) -> None:
    x, y = _pixels(np.array(center))
    cv2.circle(image, (int(x), int(y)), _length(radius), color, -1)


def _fish(p: _Paints) -> tuple[np.ndarray, np.ndarray]:
    t = np.linspace(0, 2 * np.pi, 100)
    body = np.stack([-0.18 + 0.8 * np.cos(t), 0.56 * np.sin(t)], 1)
    tail = np.array([[0.45, 0.0], [0.98, -0.6], [0.86, 0.0], [0.98, 0.6]])
    fin = np.array([[-0.4, -0.45], [0.1, -0.86], [0.32, -0.4]])
    image = _plain(p.main)
    for column, x in enumerate(np.arange(0.9, -0.6, -0.17)):
        for y in np.arange(-1, 1.1, 0.26) + (0.13 if column % 2 else 0):
            center = tuple(map(int, _pixels(np.array([x, y]))))
            cv2.circle(image, center, _length(0.15), p.light, -1)
            cv2.circle(image, center, _length(0.15), p.dark, _length(0.045))
    # The head has no scales.
    head = np.stack([-0.82 + 0.4 * np.cos(t), 0.7 * np.sin(t)], 1)
    cv2.fillPoly(image, [_pixels(head)], p.main)
    _disc_on(image, (-0.66, -0.14), 0.13, _WHITE)
    _disc_on(image, (-0.68, -0.14), 0.065, _INK)
    return _mask(body, tail, fin), image


def _mushroom(p: _Paints) -> tuple[np.ndarray, np.ndarray]:
    t = np.linspace(np.pi, 2 * np.pi, 60)
    cap = np.stack([0.98 * np.cos(t), 0.22 + 1.14 * np.sin(t)], 1)
    stem = np.array([[-0.3, 0.1], [0.3, 0.1], [0.42, 0.96], [-0.42, 0.96]])
    image = _plain(p.main)
    for x, y, radius in (
        (0, -0.52, 0.21),
        (-0.46, -0.22, 0.19),
        (0.46, -0.24, 0.19),
        (0.02, 0.04, 0.14),
        (-0.82, 0.06, 0.14),
        (0.82, 0.06, 0.14),
    ):
        _disc_on(image, (x, y), radius, _WHITE)
    cv2.fillPoly(image, [_pixels(stem * (1, 1) + (0, 0.12))], (240, 226, 196))
    for x in (-0.2, 0, 0.2):
        _line(image, (x, 0.3), (1.2 * x, 1.0), (196, 172, 134), 0.05)
    return _mask(cap, stem), image


def _kite(p: _Paints) -> tuple[np.ndarray, np.ndarray]:
    corners = np.array([[0, -1.0], [0.74, -0.2], [0, 1.0], [-0.74, -0.2]])
    image = _plain(p.main)
    step = 0.22
    for i, x in enumerate(np.arange(-1.1, 1.1, step)):
        for j, y in enumerate(np.arange(-1.1, 1.1, step)):
            if (i + j) % 2:
                square = np.array([[x, y], [x + step, y], [x + step, y + step], [x, y + step]])
                cv2.fillPoly(image, [_pixels(square)], p.light)
    _line(image, (0, -1), (0, 1), p.dark, 0.05)
    _line(image, (-0.74, -0.2), (0.74, -0.2), p.dark, 0.05)
    return _mask(corners), image


def _leaf(p: _Paints) -> tuple[np.ndarray, np.ndarray]:
    y = np.linspace(-1, 0.72, 60)
    half = 0.62 * np.sin(np.pi * (y + 1) / 1.72) ** 0.8
    blade = np.concatenate([np.stack([half, y], 1), np.stack([-half, y], 1)[::-1]])
    stalk = np.array([[-0.06, 0.6], [0.06, 0.6], [0.06, 1.0], [-0.06, 1.0]])
    image = _plain(p.main)
    for base in np.arange(-0.75, 0.9, 0.19):
        for side in (-1, 1):
            _line(image, (0, base), (side * 0.7, base - 0.5), p.dark, 0.055)
    _line(image, (0, -1), (0, 1), p.dark, 0.08)
    return _mask(blade, stalk), image


def _target(p: _Paints) -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros((_WORK, _WORK), np.uint8)
    _disc(mask, (0, 0), 0.98, 255)
    image = _plain(p.main)
    for ring in range(1, 6):
        _disc_on(image, (0, 0), 0.98 - 0.18 * ring, p.main if ring % 2 == 0 else _WHITE)
    return mask, image


_PAINTERS: dict[str, Callable[[_Paints], tuple[np.ndarray, np.ndarray]]] = dict(
    zip(
        OBJECTS,
        (
            _star,
            _heart,
            _ball,
            _donut,
            _flower,
            _fish,
            _mushroom,
            _kite,
            _leaf,
            _target,
        ),
        strict=True,
    )
)


@cache
def sprite(kind: int, color: int, halvings: int = 0) -> np.ndarray:
    """Returns an upright object on a transparent ground.

    Args:
        kind: index into ``OBJECTS``.
        color: index into ``COLORS``.
        halvings: how often it is halved, for small objects.

    Returns:
        (SPRITE / 2**halvings, same, 4) uint8, RGB multiplied by alpha, and alpha. Do not write to
        it. A dark outline belongs to the object.
    """
    if halvings:
        finer = sprite(kind, color, halvings - 1)
        return cv2.resize(finer, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    mask, image = _PAINTERS[OBJECTS[kind]](_paints(color))
    outline = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (13, 13))
    inside = cv2.erode(mask, outline)
    image = np.where(inside[..., None] > 0, image, np.array(_INK, np.uint8))
    layered = np.dstack([image * (mask[..., None] > 0), mask])
    return cv2.resize(layered, (SPRITE, SPRITE), interpolation=cv2.INTER_AREA)
