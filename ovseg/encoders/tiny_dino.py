"""The tiny DINO and the tiny FOUND that ship with ovseg: timm's class and one linear layer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ovseg.encoders.embedded import fill_and_freeze, read_embedded, write_embedded
from ovseg.weight_files import WEIGHTS


def build_tiny_dino(
    name: str = 'tiny_dino_scenes', folder: str | Path = WEIGHTS
) -> tuple[VisionTransformer, tuple[float, ...], tuple[float, ...]]:
    """Returns an embedded DINO: (model, pixel mean, pixel standard deviation), frozen.

    Its parameters have the names of DINO's published files.

    Args:
        name: ``NAME.safetensors`` and ``NAME.json`` lie in the folder.
        folder: the package's own, or one that ``tools/export_tiny_dino.py`` wrote to.

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


def save_tiny_dino(
    path: str | Path,
    state: Mapping[str, Tensor],
    model: Mapping[str, Any],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    origin: Mapping[str, Any],
) -> int:
    """Writes ``PATH.safetensors`` and ``PATH.json`` for :func:`build_tiny_dino`.

    Args:
        path: where to, with or without the suffix.
        state: of the vision transformer.
        model: arguments of timm's ``VisionTransformer``.
        mean: pixel mean, RGB, in units of [0, 1].
        std: pixel standard deviation, likewise.
        origin: how the weights were made, for people.

    Returns:
        Size of the weights in bytes; they are stored in float16.

    Raises:
        UserError: a weight is not finite in float16.
    """
    facts = {
        'kind': 'dino',
        'model': dict(model),
        'mean': list(mean),
        'std': list(std),
        'origin': dict(origin),
    }
    return write_embedded(path, facts, state)


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
        folder: the package's own, or one that ``tools/export_tiny_dino.py`` wrote to.

    Raises:
        UserError: no such model, or weights that do not fit its description.
    """
    facts, state = read_embedded(name, folder, 'found')
    found = FoundDecoder(facts['channels'])
    fill_and_freeze(found, state, name)
    return found, facts['dino']


def save_tiny_found(
    path: str | Path, found: FoundDecoder, dino: str, origin: Mapping[str, Any]
) -> int:
    """Writes ``PATH.safetensors`` and ``PATH.json`` for :func:`build_tiny_found`.

    Args:
        path: where to, with or without the suffix.
        found: its weights are stored in float16 as ``decoder.weight`` and ``decoder.bias``.
        dino: name of the embedded DINO that it was trained on.
        origin: how the weights were made, for people.

    Returns:
        Size of the weights in bytes.
    """
    facts = {
        'kind': 'found',
        'channels': found.decoder.in_channels,
        'dino': dino,
        'origin': dict(origin),
    }
    return write_embedded(path, facts, found.state_dict())
