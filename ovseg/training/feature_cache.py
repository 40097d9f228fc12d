"""Features of a frozen model kept on disk, an image a file, so that a training reads no images."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ovseg.files import written_whole
from ovseg.training.patch_labels import PatchLabels
from ovseg.weight_files import read_tensors

_NAMES = ('features', 'patch', 'label', 'share')
_FORMAT = 'ovseg-features/1'


@dataclass(frozen=True, eq=False)
class CachedPatches:
    """Patches of one or more images.

    Attributes:
        features: (N, D), raw features of a frozen encoder.
        labels: of these patches.
    """

    features: Tensor
    labels: PatchLabels

    def packed(self) -> CachedPatches:
        """Without patches of no class, and as small as it is kept: halves and 32-bit numbers."""
        kept, patch = self.labels.patch.unique(return_inverse=True)
        labels = PatchLabels(patch.int(), self.labels.label.int(), self.labels.share.half())
        return CachedPatches(self.features[kept].half().contiguous(), labels)

    def to(self, device: torch.device) -> CachedPatches:
        """The same on a device, its numbers as torch computes with them."""
        labels = PatchLabels(
            self.labels.patch.to(device).long(),
            self.labels.label.to(device).long(),
            self.labels.share.to(device).float(),
        )
        return CachedPatches(self.features.to(device).float(), labels)

    def save(self, path: Path) -> None:
        """Writes the file, whole or not at all."""
        values = (self.features, self.labels.patch, self.labels.label, self.labels.share)
        named = {name: value.cpu() for name, value in zip(_NAMES, values, strict=True)}
        with written_whole(path) as temporary:
            save_file(named, temporary, metadata={'format': _FORMAT})

    @classmethod
    def load(cls, path: Path) -> CachedPatches:
        """Reads what :meth:`save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            UserError: it is damaged.
        """
        content = read_tensors(path)
        features, patch, label, share = (content[name] for name in _NAMES)
        return cls(features, PatchLabels(patch, label, share))


def join(images: Sequence[CachedPatches]) -> CachedPatches:
    """Patches of several images as one batch."""
    sizes = [len(image.features) for image in images]
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    labels = [image.labels for image in images]
    return CachedPatches(
        torch.cat([image.features for image in images]),
        PatchLabels(
            torch.cat([one.patch + start for one, start in zip(labels, starts, strict=True)]),
            torch.cat([one.label for one in labels]),
            torch.cat([one.share for one in labels]),
        ),
    )


def encoder_identity(encoder: Any, settings: Any) -> str:
    """32 hexadecimal digits that tell the features of an encoder from all others'.

    Args:
        encoder: a dense encoder, whose weights, structure and last block count.
        settings: what else decides the features; plain data.
    """
    digest = hashlib.blake2b(digest_size=16)
    facts = [repr(getattr(encoder, name, None)) for name in _ENCODER_SETTINGS]
    digest.update(f'{_FORMAT}:{encoder!r}:{facts}:{settings!r}'.encode())
    for name, value in encoder.state_dict().items():
        digest.update(f'{name}:{tuple(value.shape)}:{value.dtype}'.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


# Of encoders, where torch's description of a module does not show them.
_ENCODER_SETTINGS = ('last_block', 'padding', 'padding_unit', 'position_resize', 'mlp_input_layer')


def default_feature_dir() -> Path:
    """``$OVSEG_CACHE/features``, or ``~/.cache/ovseg/features``."""
    root = os.environ.get('OVSEG_CACHE')
    return Path(root or os.path.join(os.path.expanduser('~'), '.cache', 'ovseg')) / 'features'
