"""MaskFormer whose queries are embedded in CLIP's text space: mask proposals for any words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmdet.models.layers.pixel_decoder import PixelDecoder
from mmdet.models.losses import DiceLoss, FocalLoss
from mmdet.models.task_modules.assigners import DiceCost, FocalLossCost
from mmengine.config import ConfigDict
from mmengine.model import caffe2_xavier_init
from torch import Tensor

from ovseg.errors import UserError
from ovseg.registry import MODELS
from ovseg.training.heads.text_queries import TextQueryHead

# Levels of the backbone: strides 4, 8, 16 and 32.
_LEVELS = 4
# Of MaskFormer's focal loss, and of Dice's fraction: what is added above and below it.
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
_DICE_SMOOTHING = 1.0


@MODELS.register_module()
class OpenVocabularyMaskFormer(TextQueryHead):
    """mmdet's MaskFormer with the text side of :class:`TextQueryHead`.

    Padding of an image is attended to, as the published models do; mmdet would mask it out and
    measure positions by the image without it.

    Args:
        in_channels: of the backbone's levels, strides 4, 8, 16 and 32.
        embed_dim: E of the text space.
        num_queries: Q.
        feat_channels: width of the pixel decoder.
        mask_channels: width of mask features and mask embeddings.
        hidden_channels: width of the transformer.
        num_heads: of its attentions.
        feedforward_channels: of its MLPs.
        num_layers: of its decoder; each is supervised.
        dropout: in the decoder.
        class_channels: width inside the MLP that gives embeddings.
        class_layers: of that MLP.
        norm_groups: of the pixel decoder's group norms.
        class_weight: of the cross entropy, and of the class in matching.
        mask_weight: of the focal loss, and in matching.
        dice_weight: of the Dice loss, and in matching.
        no_object_weight: of "no object" among the classes of the cross entropy.
        ignore_index: label without a class.
        init_cfg: as in mmengine.

    Raises:
        UserError: other than four levels, or widths that do not fit each other.

    Source: OVSeg (arXiv 2210.04150) section 3.1; MaskFormer (arXiv 2107.06278), section 3.3 for
        losses and matching; constants of facebookresearch/ov-seg.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        embed_dim: int,
        num_queries: int = 100,
        feat_channels: int = 256,
        mask_channels: int = 256,
        hidden_channels: int = 256,
        num_heads: int = 8,
        feedforward_channels: int = 2048,
        num_layers: int = 6,
        dropout: float = 0.1,
        class_channels: int = 1024,
        class_layers: int = 2,
        norm_groups: int = 32,
        class_weight: float = 1.0,
        mask_weight: float = 20.0,
        dice_weight: float = 1.0,
        no_object_weight: float = 0.1,
        ignore_index: int = 255,
        init_cfg: dict | None = None,
    ) -> None:
        _check_widths(in_channels, feat_channels, norm_groups, hidden_channels, num_heads)
        focal = {'alpha': FOCAL_ALPHA, 'gamma': FOCAL_GAMMA}
        dice = {'eps': _DICE_SMOOTHING, 'naive_dice': True}
        super().__init__(
            in_channels=in_channels,
            embed_dim=embed_dim,
            num_queries=num_queries,
            query_channels=hidden_channels,
            mask_channels=mask_channels,
            class_channels=class_channels,
            class_layers=class_layers,
            class_weight=class_weight,
            no_object_weight=no_object_weight,
            mask_costs=[
                {'type': FocalLossCost, 'binary_input': True, 'weight': mask_weight, **focal},
                {'type': DiceCost, 'pred_act': True, 'weight': dice_weight, **dice},
            ],
            ignore_index=ignore_index,
            feat_channels=feat_channels,
            pixel_decoder=ConfigDict(
                type=PixelDecoder, norm_cfg={'type': 'GN', 'num_groups': norm_groups}
            ),
            enforce_decoder_input_project=True,
            transformer_decoder=_decoder_settings(
                hidden_channels, num_heads, feedforward_channels, num_layers, dropout
            ),
            positional_encoding={'num_feats': hidden_channels // 2, 'normalize': True},
            loss_mask=ConfigDict(
                type=FocalLoss, use_sigmoid=True, loss_weight=mask_weight, **focal
            ),
            loss_dice=ConfigDict(type=DiceLoss, activate=True, loss_weight=dice_weight, **dice),
            init_cfg=init_cfg,
        )

    def init_weights(self) -> None:
        """Initialises as mmdet does, and the coarsest pair of convolutions that it leaves out."""
        super().init_weights()
        for convolutions in (self.pixel_decoder.lateral_convs, self.pixel_decoder.output_convs):
            last: ConvModule = convolutions[-1]
            caffe2_xavier_init(last.conv, bias=0)

    def forward_layers(
        self, features: Sequence[Tensor], only_last: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Embeddings (L, B, Q, E) and mask logits (L, B, Q, h, w) after each decoder layer.

        Args:
            features: the backbone's levels, strides 4, 8, 16 and 32.
            only_last: of the last layer only: L = 1.
        """
        hidden, mask_features = self._decode(features)
        if only_last:
            hidden = hidden[-1:]
        mask_logits = torch.einsum('lbqc,bchw->lbqhw', self.mask_embed(hidden), mask_features)
        return self.cls_embed(hidden), mask_logits

    def _decode(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Queries after each decoder layer (L, B, Q, C), and mask features (B, M, h, w)."""
        mask_features, coarsest = self.pixel_decoder(features, None)
        memory = self.decoder_input_proj(coarsest)
        # Without a mask the encoding spans the whole padded map.
        position = self.decoder_pe(None, memory).flatten(2).transpose(1, 2)
        memory = memory.flatten(2).transpose(1, 2)
        query_position = self.query_embed.weight.expand(len(memory), -1, -1)
        hidden = self.transformer_decoder(
            query=torch.zeros_like(query_position),
            key=memory,
            value=memory,
            query_pos=query_position,
            key_pos=position.to(memory),
            key_padding_mask=None,
        )
        return hidden, mask_features


def _decoder_settings(
    width: int, heads: int, feedforward: int, layers: int, dropout: float
) -> dict[str, Any]:
    """Settings of mmdet's post-norm DETR decoder that gives the queries after each layer.

    Args:
        width: of the queries.
        heads: of each attention.
        feedforward: width inside the MLPs.
        layers: count.
        dropout: in attentions and MLPs.
    """
    attention = {
        'embed_dims': width,
        'num_heads': heads,
        'attn_drop': dropout,
        'dropout_layer': {'type': 'Dropout', 'drop_prob': dropout},
        'batch_first': True,
    }
    return {
        'num_layers': layers,
        'layer_cfg': {
            'self_attn_cfg': attention,
            'cross_attn_cfg': dict(attention),
            'ffn_cfg': {
                'embed_dims': width,
                'feedforward_channels': feedforward,
                'num_fcs': 2,
                'ffn_drop': dropout,
                'act_cfg': {'type': 'ReLU', 'inplace': True},
            },
        },
        'return_intermediate': True,
    }


def _check_widths(
    in_channels: Sequence[int], feat: int, groups: int, hidden: int, heads: int
) -> None:
    if len(in_channels) != _LEVELS:
        raise UserError(
            f'proposals.in_channels has {len(in_channels)} numbers; give one for each of the '
            "backbone's levels of strides 4, 8, 16 and 32"
        )
    for key, width, parts, by in (
        ('feat_channels', feat, groups, 'norm_groups'),
        ('hidden_channels', hidden, heads, 'num_heads'),
        ('hidden_channels', hidden, 4, 'sine and cosine of two axes'),
    ):
        if width % parts:
            raise UserError(
                f'proposals.{key}={width} cannot be divided by {parts} ({by}); choose a multiple'
            )
