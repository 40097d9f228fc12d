"""The materials of Scenes as endless textures: tiles that repeat without a seam."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from ovseg.scenes.world import MATERIALS

TILE = 512


def _noise(rng: np.random.Generator, sigma_x: float, sigma_y: float | None = None) -> np.ndarray:
    """Smooth periodic noise, (TILE, TILE), mean 0, standard deviation 1."""
    pad = TILE // 2
    field = np.pad(rng.standard_normal((TILE, TILE)).astype(np.float32), pad, mode='wrap')
    smooth = cv2.GaussianBlur(field, (0, 0), sigma_x, sigmaY=sigma_y or sigma_x)
    field = smooth[pad:-pad, pad:-pad].astype(np.float32, copy=False)
    return (field - field.mean()) / field.std()


def _mix(low: tuple, high: tuple, share: np.ndarray) -> np.ndarray:
    """Colours between two, (TILE, TILE, 3); `share` of `high`, clipped to 0..1."""
    share = np.clip(share, 0, 1)[..., None]
    return _color(*low) * (1 - share) + _color(*high) * share


def _color(red: float, green: float, blue: float) -> npt.NDArray[np.float32]:
    return np.array((red, green, blue), np.float32)


def _strokes(
    rng: np.random.Generator, count: int, length: tuple[int, int], slope: float, thickness: int
) -> np.ndarray:
    """Short lines scattered over the tile, wrapped around its edges; 0..1."""
    layer = np.zeros((TILE, TILE), np.uint8)
    for _ in range(count):
        x, y = rng.integers(0, TILE, 2)
        long = rng.integers(*length)
        lean = rng.uniform(-slope, slope) * long
        for shift_x in (-TILE, 0, TILE):
            for shift_y in (-TILE, 0, TILE):
                start = (int(x + shift_x), int(y + shift_y))
                end = (int(x + shift_x + lean), int(y + shift_y - long))
                cv2.line(layer, start, end, 255, thickness, cv2.LINE_AA)
    return layer.astype(np.float32) / 255


def _sky(rng: np.random.Generator) -> np.ndarray:
    clouds = 0.7 * _noise(rng, 22, 12) + 0.3 * _noise(rng, 8, 5)
    return _mix((112, 182, 238), (246, 250, 255), 0.5 * (clouds - 0.7) + 0.02)


def _grass(rng: np.random.Generator) -> np.ndarray:
    base = _mix((44, 116, 36), (86, 158, 52), 0.5 + 0.25 * _noise(rng, 6))
    dark = _strokes(rng, 2600, (8, 15), 0.5, 1)
    light = _strokes(rng, 2600, (8, 15), 0.5, 1)
    base += (_color(24, 82, 22) - base) * dark[..., None] * 0.8
    return base + (_color(140, 196, 84) - base) * light[..., None] * 0.8


def _sand(rng: np.random.Generator) -> np.ndarray:
    base = _mix((214, 186, 132), (232, 208, 158), 0.5 + 0.3 * _noise(rng, 14, 6))
    grain = _noise(rng, 0.8)
    return base + 13 * np.clip(grain, -2, 2)[..., None]


def _water(rng: np.random.Generator) -> np.ndarray:
    y = np.arange(TILE, dtype=np.float32)[:, None]
    ripple = np.sin(2 * np.pi * y / 16 + 1.6 * _noise(rng, 16, 8))
    base = _mix((16, 92, 150), (40, 140, 186), 0.5 + 0.5 * ripple)
    crest = np.clip(4 * (ripple - 0.72), 0, 1) * np.clip(_noise(rng, 10, 4), 0, 1)
    return base + (_color(206, 236, 246) - base) * crest[..., None]


def _snow(rng: np.random.Generator) -> np.ndarray:
    base = _mix((206, 218, 238), (252, 253, 255), 0.6 + 0.35 * _noise(rng, 11, 7))
    glints = np.clip(_noise(rng, 0.7) - 2.1, 0, 1)[..., None]
    return base - 70 * glints * _color(1, 0.8, 0.4)


def _brick_wall(rng: np.random.Generator) -> np.ndarray:
    high, wide, joint = 16, 32, 2
    wall = np.empty((TILE, TILE, 3), np.float32)
    wall[:] = (198, 188, 176)
    for row in range(TILE // high):
        for column in range(-1, TILE // wide):
            left = column * wide + (wide // 2 if row % 2 else 0)
            columns = np.arange(left + joint, left + wide) % TILE
            shade = rng.uniform(0.82, 1.12) * _color(158, 74, 56)
            top = row * high
            wall[top + joint : top + high, columns] = shade + rng.normal(0, 5, 3)
    return wall + 6 * _noise(rng, 1.2)[..., None]


def _wooden_floor(rng: np.random.Generator) -> np.ndarray:
    wide = 32
    floor = np.empty((TILE, TILE, 3), np.float32)
    grain = _noise(rng, 26, 1.0)
    for row in range(TILE // wide):
        rows = slice(row * wide, (row + 1) * wide)
        base = rng.uniform(0.88, 1.08) * _color(172, 122, 72)
        floor[rows] = base + 17 * np.roll(grain[rows], rng.integers(TILE), axis=1)[..., None]
        floor[row * wide : row * wide + 2] = (84, 54, 30)
        joint = rng.integers(TILE)
        floor[rows, joint : joint + 2] = (84, 54, 30)
    return floor


_PAINTERS = dict(
    zip(
        MATERIALS,
        (_sky, _grass, _sand, _water, _snow, _brick_wall, _wooden_floor),
        strict=True,
    )
)


@cache
def texture(material: int, halvings: int = 0) -> np.ndarray:
    """Returns a material's tile; the same at every call and on every machine.

    Args:
        material: index into ``MATERIALS``.
        halvings: how often the tile is halved, for views from afar.

    Returns:
        (TILE / 2**halvings, same, 3) uint8 RGB; it repeats seamlessly. Do not write to it.
    """
    if halvings:
        finer = texture(material, halvings - 1)
        return cv2.resize(finer, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    rng = np.random.Generator(np.random.PCG64([7, material]))
    painted = _PAINTERS[MATERIALS[material]](rng)
    return np.clip(painted, 0, 255).astype(np.uint8)
