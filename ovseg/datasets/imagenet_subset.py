"""The images of ImageNet that CLIP-DINOiser was trained on: a draw, not a list."""

from __future__ import annotations

import numpy as np

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
