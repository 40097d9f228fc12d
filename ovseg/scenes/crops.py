"""Pictures without any label for self-distillation: crops of one view of a training scene."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as change

from ovseg.errors import UserError
from ovseg.registry import DATASETS
from ovseg.scenes.draw import draw
from ovseg.scenes.views import point_camera
from ovseg.scenes.world import allowed_pairs, draw_lots, scene_random

ASPECT = (3 / 4, 4 / 3)  # width to height of a crop before it is made square
JITTERED = 0.8  # share of crops with changed colours
SOLARIZE_FROM = 128  # of 255


def random_box(
    rng: np.random.Generator, side: int, scale: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Returns a box (top, left, height, width) inside a square picture, in pixels.

    Args:
        rng: chooses.
        side: of the picture.
        scale: smallest and largest share of the picture's area.
    """
    area = rng.uniform(*scale) * side**2
    ratio = float(np.exp(rng.uniform(*np.log(ASPECT))))
    height = min(side, max(1, round(float(np.sqrt(area / ratio)))))
    width = min(side, max(1, round(float(np.sqrt(area * ratio)))))
    top = int(rng.integers(side - height + 1))
    left = int(rng.integers(side - width + 1))
    return top, left, height, width


def recolored(image: Tensor, rng: np.random.Generator, jitter: Sequence[float]) -> Tensor:
    """Returns the picture with another brightness, contrast, saturation and hue.

    Args:
        image: (3, H, W) uint8 RGB.
        rng: chooses.
        jitter: largest relative change of brightness, contrast and saturation, and the largest
            turn of the hue, in turns of the colour wheel.
    """
    *spreads, turn = jitter
    steps = [change.adjust_brightness, change.adjust_contrast, change.adjust_saturation]
    factors = [float(rng.uniform(1 - spread, 1 + spread)) for spread in spreads]
    angle = float(rng.uniform(-turn, turn))
    for number in rng.permutation(4):
        if number < 3:
            image = steps[number](image, factors[number])
        elif turn:
            image = change.adjust_hue(image, angle)
    return image


@DATASETS.register_module()
class SceneCropsDataset(Dataset):
    """Global and local crops of views of training scenes, drawn when asked for, without labels.

    One camera looks at a part of a training scene; all crops of a sample are cut from what it
    sees, and each is changed on its own: flipped, recoloured, made grey, blurred, solarised. A
    sample is a function of (number, seed).

    Args:
        num_views: how many there are; costs nothing.
        view: side in pixels of the picture that crops are cut from.
        span: smallest and largest side of the part of a scene seen, in pixels of its 192 x 192
            canvas.
        global_size: side of the two global crops in pixels.
        local_size: side of the local crops in pixels.
        num_local: how many local crops; at least one.
        global_scale: smallest and largest share of the view's area in a global crop.
        local_scale: the same for a local crop.
        jitter: brightness, contrast, saturation, hue; see :func:`recolored`.
        grey: share of crops without colours.
        blur: largest standard deviation of the blur in pixels. Every first global crop is
            blurred, a tenth of the second ones, half of the local ones.
        solarize: share of second global crops whose bright pixels are inverted.
        seed: number of the whole data set.

    Raises:
        UserError: a number or size below 1.

    Source: DINO (arXiv 2104.14294) section 3.1 and appendix; its public code for the constants.
    """

    def __init__(
        self,
        num_views: int,
        view: int = 96,
        span: tuple[float, float] = (80, 128),
        global_size: int = 64,
        local_size: int = 32,
        num_local: int = 6,
        global_scale: tuple[float, float] = (0.4, 1.0),
        local_scale: tuple[float, float] = (0.05, 0.4),
        jitter: Sequence[float] = (0.4, 0.4, 0.2, 0.1),
        grey: float = 0.2,
        blur: float = 1.0,
        solarize: float = 0.2,
        seed: int = 0,
    ) -> None:
        if min(num_views, view, global_size, local_size, num_local) < 1:
            raise UserError(
                'SceneCropsDataset: num_views, view, global_size, local_size and num_local must '
                f'be above 0, got {num_views}, {view}, {global_size}, {local_size}, {num_local}'
            )
        self.num_views = num_views
        self.view = view
        self.span = (span[0], span[1])
        self.global_size = global_size
        self.local_size = local_size
        self.num_local = num_local
        self.global_scale = (global_scale[0], global_scale[1])
        self.local_scale = (local_scale[0], local_scale[1])
        self.jitter = tuple(jitter)
        self.grey = grey
        self.blur = blur
        self.solarize = solarize
        self.seed = seed

    def __len__(self) -> int:
        """Number of views."""
        return self.num_views

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Returns ``global_crops`` (2, 3, G, G) and ``local_crops`` (n, 3, L, L), uint8 RGB."""
        rng = scene_random('train', int(index), self.seed)
        scene = draw_lots(rng, allowed_pairs('train'))
        picture = draw(scene, point_camera(scene, rng, self.view, self.span))
        view = torch.from_numpy(picture.image).permute(2, 0, 1).contiguous()
        broad = [
            self._crop(view, rng, self.global_size, self.global_scale, blurred, solarized)
            for blurred, solarized in ((1.0, 0.0), (0.1, self.solarize))
        ]
        narrow = [
            self._crop(view, rng, self.local_size, self.local_scale, 0.5, 0.0)
            for _ in range(self.num_local)
        ]
        return {'global_crops': torch.stack(broad), 'local_crops': torch.stack(narrow)}

    def _crop(
        self,
        view: Tensor,
        rng: np.random.Generator,
        size: int,
        scale: tuple[float, float],
        blurred: float,
        solarized: float,
    ) -> Tensor:
        """One crop (3, size, size); the last two are probabilities."""
        top, left, height, width = random_box(rng, self.view, scale)
        crop = change.resized_crop(
            view, top, left, height, width, [size, size], InterpolationMode.BICUBIC
        )
        flip, jitter, grey, blur, solarize = rng.uniform(size=5)
        if flip < 0.5:
            crop = change.horizontal_flip(crop)
        if jitter < JITTERED:
            crop = recolored(crop, rng, self.jitter)
        if grey < self.grey:
            crop = change.rgb_to_grayscale(crop, num_output_channels=3)
        if blur < blurred:
            crop = change.gaussian_blur(crop, [5, 5], [float(rng.uniform(0.1, self.blur))] * 2)
        if solarize < solarized:
            crop = change.solarize(crop, SOLARIZE_FROM)
        return crop
