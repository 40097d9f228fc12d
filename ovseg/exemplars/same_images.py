"""Which images of two banks are one, whatever they are called, and names that tell others apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

# Two encodings of one image differ by rounding, those of two images in some number by more.
_ROUNDING = 2e-3
# Hexadecimal digits of a digest that stand in a name.
_SHOWN = 12


def digest_of(pixels: npt.NDArray[np.uint8]) -> str:
    """What an image is known by wherever it lies and whatever it is called, 32 hexadecimal digits.

    Args:
        pixels: (H, W, 3) uint8 RGB.
    """
    digest = blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def name_in_memory(digest: str) -> str:
    """What an image without a name is called: the same for the same pixels in every bank.

    Args:
        digest: of the image.
    """
    return f'image in memory {digest[:_SHOWN]}'


@dataclass(frozen=True, eq=False)
class KnownImage:
    """What a bank knows of an image.

    Attributes:
        name: it is called by.
        digest: of its pixels; ``''`` in banks that were written without.
        context: (D,) its mean patch.
    """

    name: str
    digest: str
    context: Tensor

    def is_same(self, other: KnownImage) -> bool:
        """Whether both are one image: by their pixels, and where these are not known, by name.

        Names such as ``photo.jpg`` stand in many folders, so that without pixels the mean patches
        have to agree, too.
        """
        if self.digest and other.digest:
            return self.digest == other.digest
        close = torch.allclose(self.context.float(), other.context.float(), rtol=0, atol=_ROUNDING)
        return self.name == other.name and close

    def renamed(self, names: Iterable[str]) -> str:
        """Its name, with digits behind it where another image of a bank has the same.

        Args:
            names: of the other images.
        """
        taken = set(names)
        if self.name not in taken:
            return self.name
        context = self.context.half().cpu().contiguous().numpy().tobytes()
        digits = self.digest or blake2b(context, digest_size=16).hexdigest()
        found = f'{self.name} [{digits[:_SHOWN]}]'
        return found if found not in taken else f'{self.name} [{digits}]'


def places_of(others: Sequence[KnownImage], own: Sequence[KnownImage]) -> list[int]:
    """Which of a bank's own images each of the others is; -1 where it is none of them.

    Args:
        others: images of another bank.
        own: images of the bank.
    """
    by_digest = {image.digest: place for place, image in enumerate(own) if image.digest}
    by_name = {image.name: place for place, image in enumerate(own)}
    places = []
    for image in others:
        place = by_digest.get(image.digest, by_name.get(image.name, -1))
        places.append(place if place >= 0 and image.is_same(own[place]) else -1)
    return places
