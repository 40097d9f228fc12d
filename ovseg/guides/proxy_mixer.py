"""Proxy attention: a companion's similarities decide which of CLIP's values are mixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ovseg.affinity.proxy import mean_similarity, mix_values, proxy_affinity
from ovseg.encoders.clip_vit import CLIPViTEncoder
from ovseg.errors import UserError
from ovseg.guides.mixer import Look
from ovseg.registry import MODELS


@MODELS.register_module()
@dataclass(frozen=True)
class ProxyAttention:
    """A mixer by the similarities of a companion's features, and what of the last block stays.

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
    normed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Checks the steepness."""
        if not self.gamma > 0:
            raise UserError(
                f'gamma of the proxy attention must be positive (published 3.0), got {self.gamma}'
            )

    def __call__(self, clip: CLIPViTEncoder, image: Tensor, look: Look) -> Tensor:
        """See :class:`~ovseg.guides.mixer.Mixer`; regions are not looked at."""
        tokens, grid, _ = clip.trunk(image)
        mean = mean_similarity(look.features) if look.ordinary is None else look.ordinary
        affinity = proxy_affinity(look.features, mean, self.beta, self.gamma)
        mixed = mix_values(clip.values_of(tokens, grid), affinity, look.grid)
        residual = clip.patches_of(tokens, grid) if self.residual else None
        return clip.mixed(mixed, residual, self.ffn)
