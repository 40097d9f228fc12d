"""Vision transformers of several packages behind one face: what stands around their blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer as TimmVisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.affinity.opened_blocks import Rotation
from ovseg.encoders.position import ResizeRule
from ovseg.encoders.timm_tower import TimmTower
from ovseg.errors import UserError


class Tower(Protocol):
    """A vision transformer, taken apart before and behind its blocks.

    It reads the package's own module and keeps nothing of its own. Its blocks are those that
    :func:`~ovseg.affinity.opened_blocks.open_block` takes apart.

    Attributes:
        blocks: all of them, in order.
        patch: pixels a patch stands for, (height, width).
        trained_grid: (h0, w0), the grid that the position table stands for.
        prefix: class and register tokens before the patches.
        embed_dim: D of the text space.
        position_rule: how the package itself resizes the position table.
    """

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """All transformer blocks."""
        ...

    @property
    def patch(self) -> tuple[int, int]:
        """Pixels a patch stands for."""
        ...

    @property
    def trained_grid(self) -> tuple[int, int]:
        """The grid of the position table."""
        ...

    @property
    def prefix(self) -> int:
        """Tokens before the patches."""
        ...

    @property
    def embed_dim(self) -> int:
        """D of the text space."""
        ...

    @property
    def position_rule(self) -> ResizeRule:
        """The package's own way to resize positions."""
        ...

    def patches(self, image: Tensor) -> Tensor:
        """Images (B, 3, H, W), normalised, cut into embedded patches (B, C, h, w)."""
        ...

    def positions(self) -> tuple[Tensor | None, int]:
        """The position table (p + h0*w0, C) and its p rows that are no patches; None without."""
        ...

    def assemble(self, patches: Tensor, positions: Tensor | None) -> Tensor:
        """Tokens that enter the first block.

        Args:
            patches: (B, h*w, C), row-major.
            positions: (p + h*w, C), the table on the patches' grid, or None without one.

        Returns:
            (B, prefix + h*w, C).
        """
        ...

    def rotation(self, grid: tuple[int, int]) -> Rotation | None:
        """The rotary position embedding of a grid, as the blocks take it, or None."""
        ...

    def norm(self, tokens: Tensor) -> Tensor:
        """Tokens (..., C) through the last norm."""
        ...

    def project(self, normed: Tensor) -> Tensor:
        """Normed maps (B, C, h, w) in the text space, (B, D, h, w), each place by itself."""
        ...

    def pool(self, tokens: Tensor) -> Tensor:
        """The model's own embedding (B, D) of tokens (B, N, C) that leave the last block."""
        ...


@runtime_checkable
class OpensItself(Protocol):
    """A vision tower of ours around a package's, which knows how it is taken apart."""

    def open_tower(self) -> Tower:
        """The tower, taken apart."""
        ...


class OpenCLIPTower:
    """open_clip's ``VisionTransformer``, see :class:`Tower`.

    Args:
        visual: read, never written.

    Raises:
        UserError: it pools its patches by attention (CoCa).
    """

    prefix = 1
    position_rule: ResizeRule = 'always'

    def __init__(self, visual: VisionTransformer) -> None:
        if visual.attn_pool is not None:
            raise UserError(
                'this CLIP model pools its patches by several learned queries (CoCa), so they have '
                'no place in the text space; choose a model that pools by class token, average or '
                'one query'
            )
        self._visual = visual

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """See :class:`Tower`."""
        return list(self._visual.transformer.resblocks)

    @property
    def patch(self) -> tuple[int, int]:
        """See :class:`Tower`."""
        height, width = self._visual.patch_size
        return height, width

    @property
    def trained_grid(self) -> tuple[int, int]:
        """See :class:`Tower`."""
        height, width = self._visual.grid_size
        return height, width

    @property
    def embed_dim(self) -> int:
        """See :class:`Tower`."""
        return self._visual.output_dim

    def patches(self, image: Tensor) -> Tensor:
        """See :class:`Tower`."""
        return self._visual.conv1(image.to(self._visual.conv1.weight.dtype))

    def positions(self) -> tuple[Tensor | None, int]:
        """See :class:`Tower`."""
        return self._visual.positional_embedding, 1

    def assemble(self, patches: Tensor, positions: Tensor | None) -> Tensor:
        """See :class:`Tower`."""
        assert positions is not None  # open_clip's towers have a table
        class_token = self._visual.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        return self._visual.ln_pre(torch.cat([class_token, patches], dim=1) + positions)

    def rotation(self, grid: tuple[int, int]) -> Rotation | None:
        """See :class:`Tower`."""
        return None

    def norm(self, tokens: Tensor) -> Tensor:
        """See :class:`Tower`."""
        norm = self._visual.ln_post
        return norm(tokens.to(norm.weight.dtype))

    def project(self, normed: Tensor) -> Tensor:
        """See :class:`Tower`."""
        projection = self._visual.proj
        return F.conv2d(normed.to(projection.dtype), projection.T[:, :, None, None])

    def pool(self, tokens: Tensor) -> Tensor:
        """See :class:`Tower`."""
        pooled, _ = self._visual._pool(tokens)
        return pooled @ self._visual.proj


def has_tower(visual: nn.Module) -> bool:
    """Whether :func:`open_tower` knows this kind of vision tower."""
    kinds = VisionTransformer | TimmVisionTransformer | Eva
    return isinstance(visual, OpensItself) or isinstance(_trunk(visual), kinds)


def open_tower(visual: nn.Module) -> Tower:
    """Takes a vision tower apart.

    Args:
        visual: open_clip's ``VisionTransformer``; its ``TimmModel`` around a ``VisionTransformer``
            or ``Eva`` of timm; one of these two by itself; or an :class:`OpensItself`.

    Raises:
        UserError: another kind of tower, or a pooling that gives patches no place in the text
            space.
    """
    if isinstance(visual, VisionTransformer):
        return OpenCLIPTower(visual)
    if isinstance(visual, OpensItself):
        return visual.open_tower()
    trunk = _trunk(visual)
    if isinstance(trunk, TimmVisionTransformer | Eva):
        return TimmTower(trunk, visual.head if isinstance(visual, TimmModel) else None)
    name = type(trunk).__name__
    raise UserError(
        f'a vision tower of type {name} has no transformer blocks that could be opened; choose a '
        "CLIP with a vision transformer of open_clip's, or timm's VisionTransformer or Eva"
    )


def _trunk(visual: nn.Module) -> nn.Module:
    return visual.trunk if isinstance(visual, TimmModel) else visual
