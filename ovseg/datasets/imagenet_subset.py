"""The images that CLIP-DINOiser is trained on: a draw, not a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ovseg.datasets.image_folder import ImageFolderDataset
from ovseg.errors import UserError
from ovseg.registry import DATASETS

# ImageNet-1k train; indices follow the sorted folders and, in them, the sorted file names.
IMAGENET_IMAGES = 1_281_167


def draw_subset(images: int, count: int = 1000, seed: int = 0) -> list[int]:
    """Returns the indices that the published training draws from a data set, in its order.

    The draw is with replacement, so an index may come twice (of all ImageNet none does).

    Args:
        images: size of the data set.
        count: how many are drawn.
        seed: of NumPy's legacy generator, whose first draw this is.

    Source: CLIP-DINOiser, released train.py.

    Example:
        >>> draw_subset(IMAGENET_IMAGES)[:3]
        [305711, 117952, 963395]
    """
    return np.random.RandomState(seed).choice(images, count).tolist()


@DATASETS.register_module()
class DrawnImagesDataset(ImageFolderDataset):
    """Images drawn from a folder, with replacement, as the published training draws them.

    Of ImageNet's train folder these are the published 1000 images; any other folder, flat or not,
    does as well.

    Args:
        count: how many are drawn.
        draw_seed: of the draw.
        kwargs: as in :class:`ImageFolderDataset`, without ``indices``.

    Raises:
        UserError: ``indices`` is given too, or ``count`` is under 1.
    """

    def __init__(self, count: int = 1000, draw_seed: int = 0, **kwargs: Any) -> None:
        if kwargs.get('indices') is not None or count < 1:
            raise UserError('DrawnImagesDataset draws its own indices; give a count of at least 1')
        self._draw = (count, draw_seed)
        super().__init__(**kwargs)

    def _positions(self, count: int, folder: str) -> Sequence[int]:
        return draw_subset(count, *self._draw)
