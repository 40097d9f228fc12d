"""Whether a picture looks drawn as Scenes are: its cells against cells of the training scenes.

A cell is described by its colour, by how much lightness and colours vary in it, and by how steep
lightness is in it. Each cell of a scene is near to one of the training scenes; cells of photographs
are not. Nothing but scenes is needed to say what a scene looks like (docs/vocabularies.md has
the shares of pictures that are judged wrongly).
"""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ovseg.encoders.embedded import write_weights
from ovseg.scenes.draw import draw, whole
from ovseg.scenes.world import sample_scene
from ovseg.weight_files import WEIGHTS, read_state_dict

CELLS_FILE = WEIGHTS / 'scene_cells.safetensors'
# Mean distance of a picture's cells from those of scenes, from which on it is none.
FARTHEST = 1.2
_SIDE = 128  # larger pictures are shrunk to as many pixels as a square of this side has
_CELL = 8  # pixels
_SMALLEST = 48  # a square with fewer pixels says too little
_STORED = 12_000
_STEPS = 10  # of a stored number for 1


def looks_drawn(image: np.ndarray) -> bool:
    """Whether a picture may be a scene of the small world; too small ones always may.

    Args:
        image: (H, W, 3) uint8 RGB.
    """
    if image.shape[0] * image.shape[1] < _SMALLEST**2 or min(image.shape[:2]) < _CELL:
        return True
    return strangeness(image) < FARTHEST


def strangeness(image: np.ndarray) -> float:
    """Mean distance of a picture's cells from the nearest cells of training scenes.

    Args:
        image: (H, W, 3) uint8 RGB, at least a cell of 8 x 8 pixels.
    """
    known, lengths = _known_cells()
    cells = describe_cells(image)
    # Each cell's own length does not decide which known one is nearest, so it is added at the end:
    # there are cells x known numbers, and each pass over them takes milliseconds.
    squares = (-2 * cells) @ known.T
    squares += lengths
    nearest = squares.min(1) + (cells**2).sum(1)
    return float(np.sqrt(np.maximum(nearest, 0)).mean())


def describe_cells(image: np.ndarray) -> np.ndarray:
    """Colour, variation and steepness of each cell of 8 x 8 pixels, (N, 8) float32.

    Args:
        image: (H, W, 3) uint8 RGB; a large one is shrunk first.
    """
    height, width = image.shape[:2]
    shrink = _SIDE / np.sqrt(height * width)
    if shrink < 1:
        size = (max(_CELL, round(width * shrink)), max(_CELL, round(height * shrink)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    lightness = lab[..., :1]
    across = np.abs(np.diff(lightness, axis=1, append=lightness[:, -1:]))
    down = np.abs(np.diff(lightness, axis=0, append=lightness[-1:]))
    mean = _cell_means(lab)
    spread = np.sqrt(np.maximum(_cell_means(lab**2) - mean**2, 0))
    steepness = _cell_means(np.concatenate([across, down], -1))
    parts = [mean / 12, 2 * np.log(spread + 1.5), 2 * np.log(steepness + 1)]
    return np.concatenate(parts, -1).reshape(-1, 8)


def cells_of_scenes(scenes: int, seed: int = 0) -> np.ndarray:
    """Cells of training scenes of many sizes, whole and parts, some as JPEG; (N, 8) float32.

    Args:
        scenes: how many.
        seed: of sizes, parts and qualities.
    """
    rng = np.random.default_rng(seed)
    cells = []
    for index in range(scenes):
        height, width = (int(side) for side in rng.integers(96, 385, 2))
        size = (height, width) if index % 2 else (192, 192)
        scene = sample_scene('train', index, size=size)
        zoom = min(float(np.exp(rng.uniform(np.log(0.35), np.log(2)))), 512 / max(size))
        image = draw(scene, whole(scene, zoom)).image
        part = _part(image, rng)
        image = part if index % 4 > 1 else image
        quality = int(rng.integers(25, 95))
        cells.append(describe_cells(image if index % 3 else _as_jpeg(image, quality)))
    return np.concatenate(cells)


def write_cells(path: str | Path = CELLS_FILE, scenes: int = 600) -> int:
    """Writes what :func:`strangeness` compares with; returns its size in bytes.

    Args:
        path: ends in ``.safetensors``.
        scenes: how many are drawn.
    """
    import torch

    cells = cells_of_scenes(scenes)
    kept = np.random.default_rng(0).permutation(len(cells))[:_STORED]
    stored = np.clip(np.round(cells[kept] * _STEPS), 0, 255).astype(np.uint8)
    return write_weights(path, {'cells': torch.from_numpy(stored)})


def _cell_means(channels: np.ndarray) -> np.ndarray:
    rows, columns = channels.shape[0] // _CELL, channels.shape[1] // _CELL
    cut = channels[: rows * _CELL, : columns * _CELL]
    return cut.reshape(rows, _CELL, columns, _CELL, -1).mean((1, 3))


def _part(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A part with 0.4 to 0.8 of the sides."""
    size = [int(side * rng.uniform(0.4, 0.8)) for side in image.shape[:2]]
    top, left = (int(rng.integers(0, image.shape[axis] - size[axis] + 1)) for axis in (0, 1))
    return image[top : top + size[0], left : left + size[1]]


def _as_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, 'JPEG', quality=quality)
    return np.asarray(Image.open(buffer))


@cache
def _known_cells() -> tuple[np.ndarray, np.ndarray]:
    cells = read_state_dict(CELLS_FILE)['cells'].numpy().astype(np.float32) / _STEPS
    return cells, (cells**2).sum(1)
