"""Training scenes with masks of their objects and regions, for promptable segmentation."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ovseg.errors import UserError
from ovseg.registry import DATASETS
from ovseg.scenes.draw import Camera, draw
from ovseg.scenes.world import (
    CANVAS,
    MATERIALS,
    Scene,
    allowed_pairs,
    draw_lots,
    scene_random,
)

STRIDE = 2  # pixels of the picture for each pixel of a mask
NARROW = 0.3  # share of pictures that are no squares
WHOLE = 0.5  # share of pictures that show a whole scene


def part_masks(owner: npt.NDArray[np.uint8], smallest: float = 0.003) -> npt.NDArray[np.bool_]:
    """Returns the masks of all objects and of all connected regions of a material.

    An object is one mask even if another one cuts it in two. Names play no part.

    Args:
        owner: (H, W), see :class:`~ovseg.scenes.draw.Picture`.
        smallest: share of the picture that a mask covers at least.

    Returns:
        (M, H, W), materials first; M can be 0.
    """
    masks = []
    for number in np.unique(owner):
        part = owner == number
        if number >= len(MATERIALS):
            masks.append(part)
            continue
        count, pieces = cv2.connectedComponents(part.view(np.uint8), connectivity=8)
        masks.extend(pieces == piece for piece in range(1, count))
    large = [mask for mask in masks if mask.sum() >= smallest * owner.size]
    return np.stack(large) if large else np.zeros((0, *owner.shape), bool)


def choose_view(
    rng: np.random.Generator, size: int, span: float
) -> tuple[Scene, Camera, tuple[int, int]]:
    """Returns a training scene, what is seen of it, and the size of the picture in the end.

    The camera draws up to half as small as the picture is in the end, which is then enlarged, as
    a small picture is for SAM.

    Args:
        rng: chooses.
        size: long side of the picture in pixels, even.
        span: smallest side of the part seen, in pixels of the 192 x 192 canvas.
    """
    shape = [CANVAS, CANVAS]
    if rng.uniform() < NARROW:
        shape[rng.integers(2)] = round(CANVAS * rng.uniform(0.55, 1.0))
    scene = draw_lots(rng, allowed_pairs('train'), (shape[0], shape[1]))
    seen = 1.0 if rng.uniform() < WHOLE else rng.uniform(span / CANVAS, 1.0)
    left = rng.uniform(0, (1 - seen) * shape[1])
    top = rng.uniform(0, (1 - seen) * shape[0])
    height, width = (STRIDE * round(size * side / CANVAS / STRIDE) for side in shape)
    coarser = 1.0 if rng.uniform() < 0.3 else rng.uniform(0.5, 1.0)
    drawn = (max(1, round(coarser * height)), max(1, round(coarser * width)))
    return scene, Camera(left, top, drawn, drawn[1] / (seen * shape[1])), (height, width)


@DATASETS.register_module()
class SceneMasksDataset(Dataset):
    """Views of training scenes with masks of what is in them, drawn when asked for.

    A sample is a function of (number, seed). It says which pixels belong together, never what
    they are.

    Args:
        num_scenes: how many there are; costs nothing.
        size: long side of a picture in pixels, even.
        masks: how many a sample has; drawn with repetition where a view has fewer.
        span: smallest side of the part of a scene seen, in pixels of its 192 x 192 canvas.
        seed: number of the whole data set.

    Raises:
        UserError: a number below 1, an odd size, or a span that is not in (0, 192].
    """

    def __init__(
        self, num_scenes: int, size: int = 192, masks: int = 4, span: float = 110, seed: int = 0
    ) -> None:
        if min(num_scenes, size, masks) < 1 or size % STRIDE or not 0 < span <= CANVAS:
            raise UserError(
                'SceneMasksDataset: num_scenes, size and masks must be above 0, size even and '
                f'span in (0, {CANVAS}], got {num_scenes}, {size}, {masks} and {span}'
            )
        self.num_scenes = num_scenes
        self.size = size
        self.masks = masks
        self.span = span
        self.seed = seed

    def __len__(self) -> int:
        """Number of views."""
        return self.num_scenes

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Returns a picture and masks.

        ``inputs`` is (3, h, w) uint8 RGB, its long side `size`; ``masks`` (M, size / 2, size / 2)
        bool at half the resolution, False beyond the picture, which is in the upper left corner.
        """
        rng = scene_random('train', int(index), self.seed)
        while True:
            scene, camera, (height, width) = choose_view(rng, self.size, self.span)
            half = (height // STRIDE, width // STRIDE)
            # Labels are drawn on their own: resized ones would lie half a pixel beside.
            zoom = camera.zoom * half[1] / camera.size[1]
            owner = draw(scene, Camera(camera.left, camera.top, half, zoom)).owner
            found = part_masks(owner)
            if len(found):
                break
        image = cv2.resize(
            draw(scene, camera).image, (width, height), interpolation=cv2.INTER_LINEAR
        )
        order = np.resize(rng.permutation(len(found)), self.masks)
        masks = np.zeros((self.masks, self.size // STRIDE, self.size // STRIDE), bool)
        masks[:, : half[0], : half[1]] = found[order]
        return {
            'inputs': torch.from_numpy(image).permute(2, 0, 1).contiguous(),
            'masks': torch.from_numpy(masks),
        }
