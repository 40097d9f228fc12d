"""CLIP's ResNets as trained backbones: four levels, and with the attention pool the text space."""

from __future__ import annotations

from collections.abc import Sequence

from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor

from ovseg.encoders.attention_pool import DenseAttentionPool, PositionRule
from ovseg.encoders.clip_initialisation import Pretrained, load_vision_tower
from ovseg.encoders.dense import TextAlignedFeatures
from ovseg.registry import MODELS

_STRIDE = 32
# open_clip's own pool is replaced, so its heads are never run.
_UNUSED_HEADS = 1


@MODELS.register_module()
class CLIPResNet(ModifiedResNet):
    """CLIP's ResNet without its attention pool, as stock necks take it.

    Args:
        layers: blocks of the four stages, as ``(3, 4, 6, 3)`` of RN50.
        output_dim: as for :class:`CLIPResNetWithAttention`; nothing is projected here.
        input_resolution: likewise; there is no position table here.
        width: channels after the stem; the levels have 4, 8, 16 and 32 times as many.
        pretrained: CLIP to start from, see
            :func:`~ovseg.encoders.clip_initialisation.clip_state`; None for random weights, or
            where a checkpoint is loaded. Read by :meth:`init_weights`.

    Source: CLIP (arXiv 2103.00020); DenseCLIP's baseline (arXiv 2112.01518).
    """

    attnpool: DenseAttentionPool | None

    def __init__(
        self,
        layers: Sequence[int],
        output_dim: int = 512,
        input_resolution: int = 224,
        width: int = 64,
        pretrained: Pretrained | None = None,
    ) -> None:
        super().__init__(list(layers), output_dim, _UNUSED_HEADS, input_resolution, width)
        self.attnpool = None
        self.pretrained = pretrained

    def init_weights(self) -> None:
        """Loads the CLIP that ``pretrained`` names.

        Raises:
            UserError: its weights do not fit.
        """
        if self.pretrained is not None:
            load_vision_tower(self, self.pretrained, may_be_dropped=('attnpool.',), keep=False)

    def forward(self, image: Tensor) -> tuple[Tensor, ...] | TextAlignedFeatures:
        """Image (B, 3, H, W), normalised -> four maps of strides 4, 8, 16 and 32.

        The stem rounds sizes up, every later pooling rounds down.
        """
        return self.levels(image)

    def levels(self, image: Tensor) -> tuple[Tensor, ...]:
        """The four maps (B, C_i, h_i, w_i) of an image (B, 3, H, W)."""
        features, levels = self.stem(image.to(self.conv1.weight.dtype)), []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            features = stage(features)
            levels.append(features)
        return tuple(levels)


@MODELS.register_module()
class CLIPResNetWithAttention(CLIPResNet):
    """CLIP's ResNet with its attention pool at every position.

    Args:
        layers: see :class:`CLIPResNet`.
        output_dim: D of the text space: 1024 for RN50, 512 for RN101.
        input_resolution: pixels a side that the position table stands for; it has a row for each
            32 x 32 of them.
        width: see :class:`CLIPResNet`.
        pretrained: see :class:`CLIPResNet`.
        heads: of the attention pool. DenseCLIP has 32 for every width.
        position: ``'interpolate'`` (segmentation) or ``'crop'`` (detection), see
            :class:`~ovseg.encoders.attention_pool.DenseAttentionPool`.
        att_level3: gives the dense embedding as the coarsest level, instead of the last stage.

    Raises:
        UserError: heads that do not divide 32 times the width, or an unknown ``position``.

    Source: DenseCLIP (arXiv 2112.01518).
    """

    attnpool: DenseAttentionPool

    def __init__(
        self,
        layers: Sequence[int],
        output_dim: int = 1024,
        input_resolution: int = 224,
        width: int = 64,
        pretrained: Pretrained | None = None,
        heads: int = 32,
        position: PositionRule = 'interpolate',
        att_level3: bool = False,
    ) -> None:
        super().__init__(layers, output_dim, input_resolution, width, pretrained)
        self.attnpool = DenseAttentionPool(
            input_resolution // _STRIDE, 32 * width, heads, output_dim, position
        )
        self.att_level3 = att_level3

    def init_weights(self) -> None:
        """Loads the CLIP that ``pretrained`` names; its position table is resized once.

        Raises:
            UserError: its weights do not fit.
        """
        if self.pretrained is not None:
            load_vision_tower(self, self.pretrained)

    def forward(self, image: Tensor) -> TextAlignedFeatures:
        """Image (B, 3, H, W), normalised -> four levels and the last one in the text space."""
        levels = self.levels(image)
        embedding, dense = self.attnpool(levels[-1])
        if self.att_level3:
            levels = (*levels[:-1], dense)
        return TextAlignedFeatures(levels, embedding, dense)
