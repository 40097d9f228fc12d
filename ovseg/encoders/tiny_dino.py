"""The tiny DINO and the tiny FOUND that ship with ovseg: timm's class and one linear layer."""

from __future__ import annotations

from pathlib import Path

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ovseg.encoders.embedded import fill_and_freeze, read_embedded
from ovseg.weight_files import WEIGHTS


def build_tiny_dino(
    name: str = 'tiny_dino_scenes', folder: str | Path = WEIGHTS
) -> tuple[VisionTransformer, tuple[float, ...], tuple[float, ...]]:
    """Returns an embedded DINO: (model, pixel mean, pixel standard deviation), frozen.

    Its parameters have the names of DINO's published files.

    Args:
        name: ``NAME.safetensors`` and ``NAME.json`` lie in the folder.
        folder: the package's own, or one that ``tools/export.py tiny-dino`` wrote to.

    Raises:
        UserError: no such model, or weights that do not fit its description.

    Example:
        >>> vit, mean, std = build_tiny_dino()
        >>> vit.forward_features(torch.zeros(1, 3, 144, 144)).shape
        torch.Size([1, 325, 128])
    """
    facts, state = read_embedded(name, folder, 'dino')
    vit = VisionTransformer(**facts['model'])
    fill_and_freeze(vit, state, name)
    return vit, tuple(facts['mean']), tuple(facts['std'])


class FoundDecoder(nn.Module):
    """FOUND's head: a 1x1 convolution from DINO's keys to a foreground logit.

    Args:
        channels: of the keys, all heads together.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.decoder = nn.Conv2d(channels, 1, 1)

    def forward(self, keys: Tensor) -> Tensor:
        """Returns foreground logits (B, 1, h, w) of keys (B, C, h, w), which are not normalised."""
        return self.decoder(keys)


def build_tiny_found(
    name: str = 'tiny_found_scenes', folder: str | Path = WEIGHTS
) -> tuple[FoundDecoder, str]:
    """Returns an embedded FOUND head, frozen, and the name of the DINO whose keys it reads.

    Args:
        name: ``NAME.safetensors`` and ``NAME.json`` lie in the folder.
        folder: the package's own, or one that ``tools/export.py tiny-dino`` wrote to.

    Raises:
        UserError: no such model, or weights that do not fit its description.
    """
    facts, state = read_embedded(name, folder, 'found')
    found = FoundDecoder(facts['channels'])
    fill_and_freeze(found, state, name)
    return found, facts['dino']
