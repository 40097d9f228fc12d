"""Images on their way to a GPU while it computes on others: pinned, in a stream of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Sent:
    """An image whose copy to a GPU was begun.

    Attributes:
        pixels: (3, H, W) uint8, BGR as data preprocessors expect it; not to be read before it
            arrived.
        copied: what the GPU does once they are there.
    """

    pixels: Tensor
    copied: torch.cuda.Event

    def arrived(self) -> Tensor:
        """The pixels, for the current stream of this thread: it waits for them, the host does not.

        Returns:
            (3, H, W) uint8, BGR.
        """
        stream = torch.cuda.current_stream(self.pixels.device)
        stream.wait_event(self.copied)
        self.pixels.record_stream(stream)  # the memory is not given to others while it is read
        return self.pixels


class Transport:
    """Copies images to a device before their batch is made up; any thread may call it.

    Args:
        device: only a CUDA one has anything to gain.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == 'cuda' else None

    def send(self, image: np.ndarray) -> Sent | None:
        """Begins to copy an image.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            The copy; None where it travels with its batch: to other devices, and where the GPU's
            memory does not suffice for more than the batch at work.
        """
        if self._stream is None:
            return None
        try:
            with torch.cuda.stream(self._stream):
                pixels = as_bgr(image).pin_memory().to(self._device, non_blocking=True)
                return Sent(pixels, self._stream.record_event())
        except torch.cuda.OutOfMemoryError:
            return None


def as_bgr(image: np.ndarray) -> Tensor:
    """An image as data preprocessors of the MM packages expect it, in OpenCV's channel order.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (3, H, W) uint8 on the CPU.
    """
    return torch.from_numpy(np.ascontiguousarray(image[..., ::-1])).permute(2, 0, 1)
