"""Companions: encoders without words whose patch features tell what belongs together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.encoders.dino import QUANTITIES, DINOEncoder, Quantity, load_dino
from ovseg.encoders.dinov2 import load_dinov2
from ovseg.encoders.dinov3 import DINOv3Encoder, load_dinov3
from ovseg.encoders.radio import RADIOEncoder, load_radio
from ovseg.encoders.sam import load_sam
from ovseg.errors import UserError, nearest
from ovseg.precision import in_own_precision
from ovseg.registry import MODELS


class Companion(Protocol):
    """``image -> patch features``: any size, any batch size; frozen, without state of its own.

    Attributes:
        stride: pixels per patch, (height, width); None if its grid does not depend on the image.
    """

    stride: tuple[int, int] | None

    def __call__(self, image: Tensor) -> Tensor:
        """Encodes images.

        Args:
            image: (B, 3, H, W) RGB in [0, 1].

        Returns:
            (B, C, h, w), not normalised.
        """
        ...


def resize_to_patches(image: Tensor, patch: tuple[int, int]) -> Tensor:
    """Resizes an image so that both sides are whole patches, as near as can be.

    Args:
        image: (B, C, H, W).
        patch: (height, width) in pixels.

    Returns:
        (B, C, H', W'), bilinear, each side at least one patch. A side in the middle between two
        takes the even number of patches.

    Source: CorrCLIPv2, as NVlabs/RADIO chooses a resolution.

    Example:
        >>> resize_to_patches(torch.zeros(1, 3, 70, 5), (16, 16)).shape
        torch.Size([1, 3, 64, 16])
    """
    sides = zip(image.shape[-2:], patch, strict=True)
    size = [max(1, round(side / part)) * part for side, part in sides]
    if size == list(image.shape[-2:]):
        return image
    return F.interpolate(image, size=size, mode='bilinear', align_corners=False)


class _FrozenTransformer(nn.Module):
    """A frozen vision transformer; a last partial patch of the image is left out."""

    def __init__(self, encoder: DINOEncoder, quantity: Quantity, scale: int) -> None:
        super().__init__()
        if quantity not in QUANTITIES:
            raise UserError(
                f"companion.quantity must be one of {', '.join(QUANTITIES)}, got '{quantity}'."
                f'{nearest(str(quantity), QUANTITIES)}'
            )
        self.encoder = encoder
        if scale < 1 or any(side % scale for side in self.encoder.stride):
            raise UserError(
                f'companion.scale must divide the patch {self.encoder.stride}, got {scale}'
            )
        self.quantity: Quantity = quantity
        self.scale = scale
        self.stride = tuple(side // scale for side in self.encoder.stride)

    def __repr__(self) -> str:
        scale = '' if self.scale == 1 else f', scale={self.scale}'
        return f'{type(self).__name__}({self.encoder.weights} {self.quantity}{scale})'

    def forward(self, image: Tensor) -> Tensor:
        """See :class:`Companion`."""
        image = self._whole(image)
        if self.scale > 1:
            size = [side * self.scale for side in image.shape[-2:]]
            image = F.interpolate(image, size=size, mode='bilinear', align_corners=False)
        return self.encoder(image, self.quantity)

    def _whole(self, image: Tensor) -> Tensor:
        """An image of whole strides; what is smaller than one is filled up by the encoder."""
        rows, columns = (
            max(size // side, 1) * side
            for size, side in zip(image.shape[-2:], self.stride, strict=True)
        )
        return image[..., :rows, :columns]


@MODELS.register_module()
class DINOCompanion(_FrozenTransformer):
    """DINO (version 1).

    Args:
        model: see :func:`~ovseg.encoders.dino.load_dino`.
        pretrained: likewise.
        quantity: ``'tokens'`` (ProxyCLIP, Trident), ``'queries+keys'`` (CorrCLIP), or another one
            of :data:`~ovseg.encoders.dino.QUANTITIES`.
        scale: factor by which the image is enlarged first, for a finer grid than DINO's patch.

    Raises:
        UserError: unknown quantity, or a scale that does not divide the patch; see also the loader.
    """

    def __init__(
        self,
        model: str | Mapping[str, Any] = 'dino_vitb8',
        pretrained: str | Path | None = None,
        quantity: Quantity = 'tokens',
        scale: int = 1,
    ) -> None:
        super().__init__(DINOEncoder(load_dino(model, pretrained)), quantity, scale)


@MODELS.register_module()
class DINOv2Companion(_FrozenTransformer):
    """DINOv2, with or without registers.

    Args:
        model: see :func:`~ovseg.encoders.dinov2.load_dinov2`.
        pretrained: likewise.
        quantity: as in :class:`DINOCompanion`.
        scale: likewise.

    Raises:
        UserError: as there.
    """

    def __init__(
        self,
        model: str | Mapping[str, Any] = 'dinov2_vitb14_reg',
        pretrained: str | Path | None = None,
        quantity: Quantity = 'tokens',
        scale: int = 1,
    ) -> None:
        super().__init__(DINOEncoder(load_dinov2(model, pretrained)), quantity, scale)


@MODELS.register_module()
class DINOv3Companion(_FrozenTransformer):
    """DINOv3.

    Args:
        model: see :func:`~ovseg.encoders.dinov3.load_dinov3`.
        pretrained: likewise.
        quantity: as in :class:`DINOCompanion`, projections before the rotary positions.
        scale: likewise.

    Raises:
        UserError: as there.
    """

    def __init__(
        self,
        model: str | Mapping[str, Any] = 'dinov3_vitl16',
        pretrained: str | Path | None = None,
        quantity: Quantity = 'tokens',
        scale: int = 1,
    ) -> None:
        super().__init__(DINOv3Encoder(load_dinov3(model, pretrained)), quantity, scale)


@MODELS.register_module()
class RADIOCompanion(_FrozenTransformer):
    """C-RADIO, version 3 or 4; an image becomes whole patches by :func:`resize_to_patches`.

    Args:
        model: see :func:`~ovseg.encoders.radio.load_radio`.
        pretrained: likewise.
        quantity: as in :class:`DINOCompanion`; it has no final norm.
        scale: likewise.
        align_corners: see :func:`~ovseg.encoders.radio.load_radio`.

    Raises:
        UserError: as there.
    """

    def __init__(
        self,
        model: str | Mapping[str, Any] = 'c-radio_v3-l',
        pretrained: str | Path | None = None,
        quantity: Quantity = 'tokens',
        scale: int = 1,
        align_corners: bool = False,
    ) -> None:
        encoder = RADIOEncoder(load_radio(model, pretrained, align_corners))
        super().__init__(encoder, quantity, scale)

    def _whole(self, image: Tensor) -> Tensor:
        return resize_to_patches(image, self.stride)


@MODELS.register_module()
class SAMCompanion(nn.Module):
    """What SAM's image encoder gives after its neck; images are stretched to its one input size.

    Args:
        model: see :func:`~ovseg.encoders.sam.load_sam`.
        pretrained: likewise.

    Raises:
        UserError: see the loader.

    Source: ProxyCLIP (arXiv 2408.04883), whose code normalises SAM's input like DINO's.
    """

    stride = None
    casts_products = True
    mean: Tensor
    std: Tensor

    def __init__(
        self, model: str | Mapping[str, Any] = 'vit_b', pretrained: str | Path | None = None
    ) -> None:
        super().__init__()
        loaded = load_sam(model, pretrained)
        self.encoder, self.weights = loaded.model.image_encoder, loaded.weights
        for name, value in (('mean', IMAGENET_DEFAULT_MEAN), ('std', IMAGENET_DEFAULT_STD)):
            self.register_buffer(name, torch.tensor(value).view(1, 3, 1, 1), persistent=False)

    def __repr__(self) -> str:
        return f'SAMCompanion({self.weights})'

    @in_own_precision
    def forward(self, image: Tensor) -> Tensor:
        """See :class:`Companion`."""
        side = self.encoder.img_size
        image = (image - self.mean) / self.std
        image = F.interpolate(image, size=(side, side), mode='bilinear', align_corners=False)
        return self.encoder(image.to(self.encoder.patch_embed.proj.weight.dtype))
