"""The teachers of CLIP-DINOiser: true DINO correlations and FOUND's foreground."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.affinity.correlation import patch_correlation
from ovseg.encoders.dense import DenseFeatures
from ovseg.encoders.dino import QUANTITIES, DINOEncoder, Quantity, load_dino
from ovseg.encoders.found import FOUND
from ovseg.errors import UserError, nearest
from ovseg.guides.guide import Guidance
from ovseg.registry import MODELS
from ovseg.sizes import spatial_size


@MODELS.register_module()
class DINOTeacher(nn.Module):
    """Guidance of a frozen DINO and, if there is one, of FOUND.

    As a guide it makes the teacher-only model (DinoCLIP in the released code); as a teacher it
    gives the targets that :class:`~ovseg.guides.dinoiser.DINOiserGuide` learns.

    Args:
        dino: arguments of :func:`~ovseg.encoders.dino.load_dino`.
        found: arguments of :class:`~ovseg.encoders.found.FOUND`, or None for no foreground.
        quantity: which projection of DINO's last attention is compared. Values for training;
            keys are the default of the released teacher-only model.
        gamma: correlations under it count as 0, in [0, 1].
        scale: factor by which the image is enlarged first, for a finer grid than DINO's patch.

    Raises:
        UserError: settings out of range; see also the loaders.

    Source: CLIP-DINOiser (arXiv 2312.12359) section 3.
    """

    needs: frozenset[str] = frozenset()

    def __init__(
        self,
        dino: Mapping[str, Any] | None = None,
        found: Mapping[str, Any] | None = None,
        quantity: Quantity = 'values',
        gamma: float = 0.2,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        if quantity not in QUANTITIES:
            raise UserError(
                f"quantity must be one of {', '.join(QUANTITIES)}, got '{quantity}'."
                f'{nearest(str(quantity), QUANTITIES)}'
            )
        if not 0 <= gamma <= 1:
            raise UserError(f'gamma must lie in [0, 1], got {gamma}')
        if not scale > 0:
            raise UserError(f'scale must be positive, got {scale}')
        self.quantity = quantity
        self.scale = scale
        self.gamma = gamma
        self.dino = DINOEncoder(load_dino(**(dino or {'model': 'dino_vitb16'})))
        self.found = None if found is None else FOUND(**found)
        self.eval().requires_grad_(False)

    def __repr__(self) -> str:
        found = 'no FOUND' if self.found is None else 'FOUND'
        return f'DINOTeacher({self.dino.weights} {self.quantity}, gamma={self.gamma}, {found})'

    def train(self, mode: bool = True) -> DINOTeacher:
        """Stays in eval mode: it is frozen."""
        return super().train(False)

    def forward(self, features: DenseFeatures, image: Tensor) -> Guidance:
        """See :class:`~ovseg.guides.guide.Guide`; of the features only the grid is read."""
        return self.look(image, spatial_size(features.patch))

    def look(self, image: Tensor, grid: tuple[int, int]) -> Guidance:
        """Guidance for a patch grid.

        Args:
            image: (B, 3, H, W) RGB in [0, 1].
            grid: (h, w) wanted.
        """
        if self.scale != 1:
            image = F.interpolate(image, scale_factor=self.scale, mode='bilinear')
        patches = self.dino(image, self.quantity).float()
        if tuple(patches.shape[2:]) != grid:
            patches = _resize(patches / patches.norm(dim=1, keepdim=True), grid)
        foreground = None
        if self.found is not None:
            foreground = _resize(self.found(image).sigmoid(), grid)
        return Guidance(patch_correlation(patches, self.gamma), foreground)


def _resize(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Bilinear without antialiasing: the released training ran on a torchvision without it."""
    if tuple(maps.shape[2:]) == grid:
        return maps
    return F.interpolate(maps, size=grid, mode='bilinear', align_corners=False)
