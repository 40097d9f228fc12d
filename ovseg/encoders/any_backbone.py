"""A text space on top of any backbone: its levels, and a new attention pool on the last one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor

from ovseg.encoders.attention_pool import DenseAttentionPool, PositionRule
from ovseg.encoders.dense import TextAlignedFeatures
from ovseg.errors import UserError
from ovseg.registry import MODELS

_STRIDE = 32


@MODELS.register_module()
class BackboneWithAttentionPool(BaseModule):
    """A backbone of mmseg or mmdet whose last stage is embedded by an attention pool.

    The pool starts at random: it learns the text space in training.

    Args:
        backbone: config of the inner backbone, which gives maps of strides 4, 8, 16 and 32. Its
            ``init_cfg`` brings its own weights.
        output_dim: D of the text space.
        input_resolution: pixels a side that the pool's position table stands for.
        in_channels: C of the inner backbone's last map.
        heads: of the pool; must divide `in_channels`.
        position: see :class:`~ovseg.encoders.attention_pool.DenseAttentionPool`.
        init_cfg: as in mmengine.

    Raises:
        UserError: heads that do not divide the channels, or an unknown ``position``.

    Source: DenseCLIP (arXiv 2112.01518), the variant for any backbone.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        output_dim: int,
        input_resolution: int,
        in_channels: int,
        heads: int = 32,
        position: PositionRule = 'interpolate',
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.backbone = MODELS.build(dict(backbone))
        self.attnpool = DenseAttentionPool(
            input_resolution // _STRIDE, in_channels, heads, output_dim, position
        )
        self.in_channels = in_channels

    def forward(self, image: Tensor) -> TextAlignedFeatures:
        """Image (B, 3, H, W), normalised -> the inner levels and the last in the text space.

        Raises:
            UserError: the last level has other than ``in_channels`` channels.
        """
        levels = tuple(self.backbone(image))
        channels = levels[-1].shape[1]
        if channels != self.in_channels:
            raise UserError(
                f'the last map of {type(self.backbone).__name__} has {channels} channels; '
                f'set backbone.in_channels to that instead of {self.in_channels}'
            )
        return TextAlignedFeatures(levels, *self.attnpool(levels[-1]))
