"""Proxy attention: a companion's similarities decide which of CLIP's values are mixed."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.clip_vit import CLIPViTEncoder, drop_class_token
from ovseg.errors import UserError


@dataclass(frozen=True)
class ProxyAttention:
    """What takes the place of CLIP's last attention, and what of its last block stays.

    Attributes:
        beta: factor of the mean similarity that counts as ordinary; published 1.2.
        gamma: steepness; published 3.0.
        residual: the block's input is added to the attention's output; published False.
        ffn: the block's own MLP follows; published False.

    Source: ProxyCLIP (arXiv 2408.04883).
    """

    beta: float = 1.2
    gamma: float = 3.0
    residual: bool = False
    ffn: bool = False

    def __post_init__(self) -> None:
        """Checks the steepness."""
        if not self.gamma > 0:
            raise UserError(
                f'gamma of the proxy attention must be positive (published 3.0), got {self.gamma}'
            )

    def __call__(
        self, clip: CLIPViTEncoder, image: Tensor, companion: Tensor, mean: Tensor
    ) -> Tensor:
        """Tokens after CLIP's last block, on the companion's grid.

        Args:
            clip: the encoder.
            image: (B, 3, H, W), normalised for it.
            companion: (B, C', h, w), its companion's features.
            mean: (B,) or scalar, see :func:`proxy_affinity`.

        Returns:
            (B, C, h, w).
        """
        tokens, grid, _ = clip.trunk(image)
        affinity = proxy_affinity(companion, mean, self.beta, self.gamma)
        mixed = mix_values(clip.values_of(tokens, grid), affinity, tuple(companion.shape[2:]))
        residual = drop_class_token(tokens, grid) if self.residual else None
        return clip.mixed(mixed, residual, self.ffn)


def mean_similarity(features: Tensor) -> Tensor:
    """Returns the mean cosine over all pairs of patches, without making the pairs.

    Args:
        features: (B, C, h, w) of the companion, not normalised.

    Returns:
        (B,). The mean over several maps of one size is the mean of theirs.

    Example:
        >>> import torch
        >>> mean_similarity(torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]]))
        tensor([0.5000])
    """
    return F.normalize(features, dim=1).flatten(2).mean(2).square().sum(1)


def proxy_affinity(features: Tensor, mean: Tensor, beta: float = 1.2, gamma: float = 3.0) -> Tensor:
    """Returns how much each patch takes from each patch of its map, rows summing to 1.

    ``softmax((S - beta * mean) * gamma)`` over the pairs whose similarity exceeds ``beta * mean``;
    the others get 0. A patch always sees itself, so that no row is empty where all patches are
    alike.

    Args:
        features: (B, C, h, w) of the companion, not normalised.
        mean: (B,) or scalar, what counts as an ordinary similarity; see :func:`mean_similarity`.
            Over which maps it is taken belongs to the method: each window by itself in ProxyCLIP,
            all windows of the image in Trident.
        beta: factor of the mean.
        gamma: steepness.

    Returns:
        (B, h*w, h*w), patches row-major.

    Source: ProxyCLIP (arXiv 2408.04883) and its released code.
    """
    units = F.normalize(features, dim=1).flatten(2)
    logits = units.transpose(1, 2) @ units
    logits = logits.sub_(beta * mean.reshape(-1, 1, 1)).mul_(gamma)
    itself = logits.diagonal(dim1=1, dim2=2).clone()
    logits.masked_fill_(logits < 0, -float('inf'))
    logits.diagonal(dim1=1, dim2=2).copy_(itself)
    return logits.softmax(dim=2)


def mix_values(values: Tensor, affinity: Tensor, grid: tuple[int, int]) -> Tensor:
    """Returns CLIP's values mixed by an affinity, on the companion's grid.

    Args:
        values: (B, C, h, w) on CLIP's grid; resized bilinearly to the companion's.
        affinity: (B, N, N) on the companion's grid.
        grid: (height, width) of the companion's grid, N patches.

    Returns:
        (B, C, height, width). All heads share the affinity, so they are mixed as one.
    """
    if tuple(values.shape[2:]) != tuple(grid):
        values = F.interpolate(values, size=grid, mode='bilinear', align_corners=False)
    mixed = affinity.to(values.dtype) @ values.flatten(2).transpose(1, 2)
    return mixed.transpose(1, 2).unflatten(2, grid)
