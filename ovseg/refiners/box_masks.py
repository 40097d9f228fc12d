"""A box as a mask, by a SAM that can be prompted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ovseg.budget import MemoryBudget
from ovseg.encoders.prompted_sam import PromptedSAM, Prompts, to_frame
from ovseg.refiners.mask_fusion import RegionMasks


@torch.no_grad()
def mask_in_box(
    sam: PromptedSAM,
    image: npt.NDArray[np.uint8],
    box: tuple[int, int, int, int],
    device: torch.device,
    budget: MemoryBudget,
) -> npt.NDArray[np.bool_]:
    """What SAM takes for the thing in a box, within it.

    Args:
        sam: looks at the image anew.
        image: (H, W, 3) uint8 RGB.
        box: (x1, y1, x2, y2) in pixels, end exclusive, with a pixel at least.
        device: of the SAM.
        budget: what the mask's logits may take.

    Returns:
        (H, W) bool, which may be empty.
    """
    size = (image.shape[0], image.shape[1])
    seen = sam.embed(image)
    x1, y1, x2, y2 = box
    inside = sam.inside(size, sam.frame)
    middle = torch.tensor([[[(x1 + x2) / 2, (y1 + y2) / 2]]], device=device)
    corners = torch.tensor([[x1, y1, x2, y2]], device=device)
    none = torch.zeros(1, dtype=torch.int64, device=device)
    prompts = Prompts(to_frame(middle, size, inside), to_frame(corners, size, inside), None, none)
    decoded = sam.decode(seen, prompts, 1)
    masks = RegionMasks(decoded.low_res, none, seen, sam.mask_threshold)
    mask = (masks.at(size).whole(budget)[0] > sam.mask_threshold).cpu().numpy()
    boxed = np.zeros(size, dtype=np.bool_)
    boxed[y1:y2, x1:x2] = mask[y1:y2, x1:x2]
    return boxed
