"""CLIP-DINOiser's guide: two convolutions that find in CLIP what DINO and FOUND would say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ovseg.affinity.correlation import patch_correlation
from ovseg.encoders.dense import DenseFeatures
from ovseg.errors import UserError
from ovseg.guides.guide import Guidance
from ovseg.registry import MODELS
from ovseg.weight_files import load_strictly, read_tensors, state_of
from ovseg.weight_files.places import SHIPPED

EMBEDDED = 'embedded:'


@MODELS.register_module()
class DINOiserGuide(BaseModule):
    """Patch correlations and foreground from the frozen CLIP's own features.

    Args:
        in_channels: C of the features that it reads.
        channels: of the space in which patches are compared.
        kernel_size: of the convolution into that space.
        reads: ``'mlp_input'``, the encoder's intermediate map, or ``'patch'``, the final features
            (the paper's ablation).
        gamma: correlations under it count as 0, in [0, 1]; 0 switches this off.
        weights: a file with the two convolutions (the published ``last.pt``, or one that
            ``tools/export.py clip-dinoiser`` wrote), its address, or ``'embedded:NAME'`` for
            weights that ship with ovseg. None leaves them random, for training or a later
            checkpoint.

    Raises:
        UserError: settings out of range, or weights that do not fit.
        FileNotFoundError: there is no such file.

    Source: CLIP-DINOiser (arXiv 2312.12359) section 3.
    """

    def __init__(
        self,
        in_channels: int = 768,
        channels: int = 256,
        kernel_size: int = 3,
        reads: Literal['mlp_input', 'patch'] = 'mlp_input',
        gamma: float = 0.2,
        weights: str | Path | None = None,
    ) -> None:
        super().__init__()
        if reads not in ('mlp_input', 'patch'):
            raise UserError(f"guide.reads must be 'mlp_input' or 'patch', got '{reads}'")
        if not 0 <= gamma <= 1:
            raise UserError(f'guide.gamma must lie in [0, 1], got {gamma}')
        self.reads = reads
        self.needs = frozenset({reads} - {'patch'})
        self.gamma = gamma
        self.obj_proj = nn.Conv2d(
            in_channels,
            channels,
            kernel_size,
            padding=kernel_size // 2,
            padding_mode='replicate',
        )
        self.bkg_decoder = nn.Conv2d(in_channels, 1, 1)
        if weights is not None:
            load_strictly(self, read_guide_weights(weights), weights)

    def __repr__(self) -> str:
        return f'DINOiserGuide(reads={self.reads}, gamma={self.gamma})'

    def forward(self, features: DenseFeatures, image: Tensor) -> Guidance:
        """See :class:`~ovseg.guides.guide.Guide`; the image is not looked at."""
        read = getattr(features, self.reads)
        if read is None or read.shape[1] != self.obj_proj.in_channels:
            got = 'nothing' if read is None else f'{read.shape[1]} channels'
            raise UserError(
                f'guide.in_channels is {self.obj_proj.in_channels}, but the encoder gives {got} '
                f"as '{self.reads}'"
            )
        projected, foreground = self.predict(read)
        return Guidance(patch_correlation(projected.float(), self.gamma), foreground.sigmoid())

    def predict(self, read: Tensor) -> tuple[Tensor, Tensor]:
        """The two layers' own outputs, for training.

        Args:
            read: (B, C, h, w), the features named by ``reads``.

        Returns:
            Projected features (B, channels, h, w), to be compared by cosine, and foreground logits
            (B, 1, h, w).
        """
        # The projection reads the features as they are, the decoder unit vectors.
        read = read.to(self.obj_proj.weight.dtype)
        unit = read / read.norm(dim=1, keepdim=True)
        return self.obj_proj(read), self.bkg_decoder(unit)


def read_guide_weights(source: str | Path) -> dict[str, Tensor]:
    """Returns the tensors of the two convolutions by name.

    Args:
        source: see ``weights`` of :class:`DINOiserGuide`.

    Raises:
        UserError: the file holds something else.
        FileNotFoundError: there is no such file.
    """
    text = str(source)
    if text.startswith(EMBEDDED):
        source = f'{SHIPPED}{text.removeprefix(EMBEDDED)}'
    content = read_tensors(source)
    state = state_of(content, source) if isinstance(content, Mapping) else {}
    if not any(name.endswith('obj_proj.weight') for name in state):
        raise UserError(
            f'{source} is no file of CLIP-DINOiser weights (obj_proj and bkg_decoder); give its '
            'last.pt or a file of tools/export.py clip-dinoiser'
        )
    return {name: value.to(torch.float32) for name, value in state.items()}
