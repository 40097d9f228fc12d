"""Pictures with captions for contrastive training: a camera looks at a part of a training scene."""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ovseg.registry import DATASETS
from ovseg.scenes.captions import Caption, caption
from ovseg.scenes.draw import Camera, draw
from ovseg.scenes.world import Scene, allowed_pairs, draw_lots, scene_random


@dataclass(frozen=True)
class View:
    """A picture and its caption; nothing says where in the picture things are.

    Attributes:
        image: (size, size, 3) uint8 RGB.
        caption: names what is visible.
    """

    image: np.ndarray
    caption: Caption


def point_camera(
    scene: Scene, rng: np.random.Generator, size: int, span: tuple[float, float]
) -> Camera:
    """Returns a camera that looks at one of the objects (7 of 10 times) or just anywhere.

    Args:
        scene: the scene.
        rng: chooses.
        size: side of the picture in pixels.
        span: smallest and largest side of the part seen, in pixels of the canvas.
    """
    side = float(np.exp(rng.uniform(*np.log(span))))
    height, width = scene.size
    if scene.things and rng.uniform() < 0.7:
        target = np.array(scene.things[rng.integers(len(scene.things))].center)
        target += rng.uniform(-0.35, 0.35, 2) * side
    else:
        target = rng.uniform(0, 1, 2) * (width, height)
    left, top = target - side / 2
    return Camera(float(left), float(top), (size, size), size / side)


def sample_view(
    index: int,
    seed: int = 0,
    size: int = 64,
    span: tuple[float, float] = (48, 144),
    grey: float = 0.0,
) -> View:
    """Returns a captioned view of a training scene: a pure function of its arguments.

    Args:
        index: number of the view; there is no largest.
        seed: number of the whole data set.
        size: side of the picture in pixels.
        span: smallest and largest side of the part seen, in pixels of the canvas.
        grey: share of black and white pictures, whose captions say no colour.
    """
    rng = scene_random('train', index, seed)
    scene = draw_lots(rng, allowed_pairs('train'))
    picture = draw(scene, point_camera(scene, rng, size, span))
    if grey and rng.uniform() < grey:
        brightness = cv2.cvtColor(picture.image, cv2.COLOR_RGB2GRAY)
        return View(cv2.merge([brightness] * 3), caption(scene, picture, rng, in_colour=False))
    return View(picture.image, caption(scene, picture, rng))


@DATASETS.register_module()
class SceneCaptionsDataset(Dataset):
    """Views of training scenes with captions, drawn when asked for, without any pixel label.

    Args:
        num_views: how many there are; costs nothing.
        size: side of a picture in pixels.
        span: smallest and largest side of the part of a scene seen, in pixels of its 192 x 192
            canvas: small for close-ups.
        grey: share of black and white pictures, whose captions say no colour. They keep a model
            from taking the colour for the object: "yellow, so it is no fish".
        seed: number of the whole data set.
    """

    def __init__(
        self,
        num_views: int,
        size: int = 64,
        span: tuple[float, float] = (48, 144),
        grey: float = 0.0,
        seed: int = 0,
    ) -> None:
        if num_views < 1 or size < 1:
            raise ValueError(
                f'SceneCaptionsDataset needs num_views and size above 0, got {num_views}, {size}'
            )
        self.num_views = num_views
        self.size = size
        self.span = (span[0], span[1])
        self.grey = grey
        self.seed = seed

    def __len__(self) -> int:
        """Number of views."""
        return self.num_views

    def __getitem__(self, index: int) -> dict[str, Tensor | str | int]:
        """Returns ``inputs`` (3, size, size) uint8 RGB, ``caption``, and ``meaning``.

        ``meaning`` is a number that two captions share exactly if they say the same.
        """
        view = sample_view(int(index), self.seed, self.size, self.span, self.grey)
        return {
            'inputs': torch.from_numpy(view.image).permute(2, 0, 1).contiguous(),
            'caption': view.caption.text,
            'meaning': crc32(repr(sorted(view.caption.content)).encode()),
        }
