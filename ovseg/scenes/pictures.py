"""Whole training scenes as pictures, without any label, for trainings that need none."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ovseg.errors import UserError
from ovseg.registry import DATASETS
from ovseg.scenes.draw import draw, whole
from ovseg.scenes.world import CANVAS, sample_scene


@DATASETS.register_module()
class ScenePicturesDataset(Dataset):
    """Whole training scenes, drawn when asked for, without labels or captions.

    Args:
        num_scenes: how many there are; costs nothing.
        size: side of the picture in pixels; the scene is 192 x 192 pixels large.
        seed: number of the whole data set.

    Raises:
        UserError: a number or size below 1.
    """

    def __init__(self, num_scenes: int, size: int = 144, seed: int = 0) -> None:
        if min(num_scenes, size) < 1:
            raise UserError(
                'ScenePicturesDataset: num_scenes and size must be above 0, '
                f'got {num_scenes} and {size}'
            )
        self.num_scenes = num_scenes
        self.size = size
        self.seed = seed

    def __len__(self) -> int:
        """Number of scenes."""
        return self.num_scenes

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Returns ``inputs`` (3, size, size) uint8 RGB."""
        scene = sample_scene('train', int(index), self.seed)
        image = draw(scene, whole(scene, self.size / CANVAS)).image
        return {'inputs': torch.from_numpy(image).permute(2, 0, 1).contiguous()}
