"""Learned background: unsure patches that show no object become background."""

from __future__ import annotations

from torch import Tensor

# A patch is an object where the foreground is likelier than not.
_IS_OBJECT = 0.5


def learned_background(
    probabilities: Tensor, foreground: Tensor, rows: Tensor, certainty: float
) -> Tensor:
    """Returns probabilities where unsure patches without an object are surely background.

    Args:
        probabilities: (B, P, h, w) over the rows.
        foreground: (B, 1, h, w) probability of an object.
        rows: indices of the background's rows; they get 1, all others keep their value.
        certainty: a patch is unsure if its best probability is under it, in [0, 1].

    Returns:
        (B, P, h, w); the input is left as it is.

    Source: CLIP-DINOiser (arXiv 2312.12359) section 3.3; each image is judged by itself.
    """
    unsure = probabilities.amax(dim=1, keepdim=True) < certainty
    is_background = unsure & (foreground <= _IS_OBJECT)
    refined = probabilities.clone()
    refined[:, rows] = refined[:, rows].masked_fill(is_background, 1.0)
    return refined
