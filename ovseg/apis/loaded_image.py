"""An image between its file and a model's encoder, and what brings it there."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from ovseg.apis.stream import Failed, sendable
from ovseg.errors import UserError
from ovseg.images.reading import ImageBytes, ImageSource, load_rgb, name_of
from ovseg.images.resize import ResizeRule
from ovseg.images.transport import Sent
from ovseg.scenes.small_world import SmallWorld


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """An image as it was read, and as an encoder will see it.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        resized: (h, w, 3) uint8 RGB, the same after the model's resize rule.
        rule: by which it was resized.
        path: of its file, None for one in memory.
        sent: the latter on its way to a GPU; None: it travels with its batch.
        doubt: why the model may not know such images, a sentence; None: it may.
    """

    pixels: np.ndarray
    resized: np.ndarray
    rule: ResizeRule
    path: str | None
    sent: Sent | None = None
    doubt: str | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of what the encoder sees; images of one size go through it together."""
        return self.resized.shape[0], self.resized.shape[1]


@dataclass(frozen=True)
class ImageLoader:
    """Reads images and resizes them for a model: what is done to each before the encoder.

    It holds no weights, so that worker processes can have it: as the transform of a data set whose
    ``DataLoader`` (with ``batch_size=None``) is the ``images`` of
    :meth:`OpenVocabSegmenter.stream <ovseg.apis.segmenter.OpenVocabSegmenter.stream>`.

    Attributes:
        rule: how the model's images are resized.
        world: what a model of a small world knows; None for others.
    """

    rule: ResizeRule
    world: SmallWorld | None = None

    def __call__(self, image: ImageSource) -> LoadedImage | Failed:
        """An image that was read, or why it could not be: one bad file ends no ``DataLoader``.

        Args:
            image: as :func:`~ovseg.images.reading.load_rgb` reads it.
        """
        try:
            return self.load(image)
        except Exception as error:
            return sendable(Failed(name_of(image), error))

    def load(self, image: ImageSource) -> LoadedImage:
        """An image that was read.

        Args:
            image: as :func:`~ovseg.images.reading.load_rgb` reads it.

        Raises:
            FileNotFoundError: see there.
            UserError: see there.
            TypeError: see there.
        """
        pixels = load_rgb(image)
        doubt = None if self.world is None else self.world.doubt_of_picture(pixels)
        # What stands for a path where the bytes come from elsewhere.
        path = name_of(image) if isinstance(image, (str, os.PathLike, ImageBytes)) else None
        return LoadedImage(pixels, self.rule.apply(pixels), self.rule, path, doubt=doubt)

    def check(self, image: LoadedImage) -> LoadedImage:
        """The image, if it was resized by the same rule.

        Args:
            image: of another loader, maybe.

        Raises:
            UserError: it was not.
        """
        if image.rule != self.rule:
            raise UserError(
                f'{image.path or "The image in memory"} was loaded for another model, which '
                'resizes images otherwise: take the loader of this one.'
            )
        return image
