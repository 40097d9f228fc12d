"""Materials of Scenes with scratches painted over them, in the folders of MVTec AD."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ovseg.scenes.textures import texture
from ovseg.scenes.world import MATERIALS

SIDE = 64


def write_scratched(root: Path, name: str = 'grass', whole: int = 1, scratched: int = 3) -> None:
    """Writes images of a material below ``root/NAME``.

    Args:
        root: the folder of the objects.
        name: one of Scenes' materials.
        whole: images without scratches.
        scratched: images with.
    """
    tile = texture(MATERIALS.index(name))
    rng = np.random.default_rng(0)
    for number in range(whole + scratched):
        kind = 'good' if number < whole else 'scratch'
        y, x = rng.integers(0, len(tile) - SIDE, 2)
        image = np.ascontiguousarray(tile[y : y + SIDE, x : x + SIDE]).astype(np.uint8)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        if kind == 'scratch':
            ends = rng.integers(8, SIDE - 8, (2, 2)).tolist()
            cv2.line(mask, ends[0], ends[1], 255, 9)
            image[mask > 0] = (210, 30, 40)
            masks = root / name / 'ground_truth' / kind
            masks.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(masks / f'{number:03}_mask.png')
        folder = root / name / 'test' / kind
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f'{number:03}.png')
