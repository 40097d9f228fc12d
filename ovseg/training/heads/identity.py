"""The pixel-text matching loss: cross-entropy on a score map that needs no layer of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor

from ovseg.registry import MODELS


@MODELS.register_module()
class IdentityHead(BaseDecodeHead):
    """mmseg's loss on given scores, without parameters.

    Args:
        in_channels: unused, as in published configs.
        channels: unused, likewise.
        num_classes: unused, likewise; the score map has a channel a class.
        loss_decode: config or configs of losses, as in mmseg.
        threshold: unused; given so that mmseg does not warn of a missing one.
        settings: other arguments of mmseg's heads, such as ``ignore_index`` and ``sampler``.

    Source: DenseCLIP (arXiv 2112.01518), auxiliary objective; weight 0.4 in its configs.
    """

    def __init__(
        self,
        in_channels: int = 1,
        channels: int = 1,
        num_classes: int = 1,
        loss_decode: Mapping[str, Any] | Sequence[Mapping[str, Any]] = (
            {'type': 'CrossEntropyLoss', 'loss_weight': 0.4, 'avg_non_ignore': False},
        ),
        threshold: float = 0.5,
        **settings: Any,
    ) -> None:
        super().__init__(
            in_channels,
            channels,
            num_classes=num_classes,
            loss_decode=loss_decode,
            threshold=threshold,
            init_cfg=None,  # the default initialises conv_seg
            **settings,
        )
        self.conv_seg = None

    def forward(self, inputs: Tensor) -> Tensor:
        """The scores as they are.

        Args:
            inputs: (B, K, h, w).
        """
        return inputs
