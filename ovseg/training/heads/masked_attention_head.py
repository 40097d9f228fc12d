"""Mask2Former whose queries are embedded in CLIP's text space, with what lies under their masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.models.dense_heads import Mask2FormerHead
from mmdet.models.layers import MSDeformAttnPixelDecoder
from mmdet.models.losses import CrossEntropyLoss, DiceLoss
from mmdet.models.task_modules.assigners import CrossEntropyLossCost, DiceCost
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ovseg.encoders.mask_pooling import pool_in_masks
from ovseg.errors import UserError
from ovseg.registry import MODELS
from ovseg.text.classifier import Classifier
from ovseg.training.heads.text_queries import TextQueryHead

# Levels of the backbone: strides 4, 8, 16 and 32; the pixel decoder's attention reads the last 3.
_LEVELS = 4
_DEFORMABLE_LEVELS = 3
_CLASS_LAYERS = 3
_DICE_SMOOTHING = 1.0
# CLIP's start of the temperature, and its largest value, which holds here, too.
_START_SCALE = math.log(1 / 0.07)
LARGEST_SCALE = 100.0


@dataclass(frozen=True)
class LayerOutputs:
    """What the decoder gives after each layer, the untouched queries first.

    Attributes:
        queries: L of (B, Q, C), normed.
        mask_logits: L of (B, Q, h, w).
        mask_features: (B, C, h, w).
    """

    queries: list[Tensor]
    mask_logits: list[Tensor]
    mask_features: Tensor


class ExactPixelDecoder(MSDeformAttnPixelDecoder):
    """mmdet's, in float32 even where the rest is computed in half precision, as published."""

    def forward(self, feats: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Mask features and three maps, coarse to fine.

        Args:
            feats: the backbone's levels.
        """
        with torch.autocast(feats[0].device.type, enabled=False):
            return super().forward([level.float() for level in feats])


@MODELS.register_module()
class MaskedAttentionHead(TextQueryHead, Mask2FormerHead):
    """mmdet's Mask2Former with the text side of :class:`TextQueryHead`, as FC-CLIP has it.

    The embedding of a query is made of the query and of what its mask covers of the mask features.
    The temperature of the cosines is learned. Padding of an image is attended to.

    Args:
        in_channels: of the backbone's levels, strides 4, 8, 16 and 32.
        embed_dim: E of the text space.
        num_queries: Q; published 250 (FC-CLIP) and 100 (MAFT+).
        channels: of queries, maps and mask features alike.
        num_heads: of the attentions.
        num_layers: of the decoder; their results and the untouched queries are supervised.
        feedforward_channels: of the decoder's MLPs.
        pixel_layers: of the pixel decoder's encoder.
        pixel_heads: of its attentions; None for `num_heads`.
        pixel_points: that each of them samples a level.
        pixel_feedforward: of its MLPs.
        norm_groups: of the pixel decoder's group norms.
        class_weight: of the cross entropy, and of the class in matching.
        mask_weight: of the binary cross entropy, and in matching.
        dice_weight: of the Dice loss, and in matching.
        no_object_weight: of void among the classes of the cross entropy.
        num_points: of a mask that matching and losses look at.
        oversample_ratio: how many more points are drawn than kept.
        importance_sample_ratio: part of the points that are kept for being unsure.
        ignore_index: label without a class.
        init_cfg: as in mmengine.

    Raises:
        UserError: other than four levels, or widths that do not fit each other.

    Source: FC-CLIP (arXiv 2308.02487) section 3.3; Mask2Former (arXiv 2112.01527) for decoder and
        losses; constants of bytedance/fc-clip.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        embed_dim: int,
        num_queries: int = 250,
        channels: int = 256,
        num_heads: int = 8,
        num_layers: int = 9,
        feedforward_channels: int = 2048,
        pixel_layers: int = 6,
        pixel_heads: int | None = None,
        pixel_points: int = 4,
        pixel_feedforward: int = 1024,
        norm_groups: int = 32,
        class_weight: float = 2.0,
        mask_weight: float = 5.0,
        dice_weight: float = 5.0,
        no_object_weight: float = 0.1,
        num_points: int = 12544,
        oversample_ratio: float = 3.0,
        importance_sample_ratio: float = 0.75,
        ignore_index: int = 255,
        init_cfg: dict | None = None,
    ) -> None:
        pixel_heads = num_heads if pixel_heads is None else pixel_heads
        _check_widths(in_channels, channels, norm_groups, num_heads, pixel_heads)
        position = {'num_feats': channels // 2, 'normalize': True}
        dice = {'eps': _DICE_SMOOTHING}
        super().__init__(
            in_channels=in_channels,
            embed_dim=embed_dim,
            num_queries=num_queries,
            query_channels=channels,
            mask_channels=channels,
            class_channels=channels,
            class_layers=_CLASS_LAYERS,
            class_weight=class_weight,
            no_object_weight=no_object_weight,
            mask_costs=[
                {'type': CrossEntropyLossCost, 'use_sigmoid': True, 'weight': mask_weight},
                {'type': DiceCost, 'pred_act': True, 'weight': dice_weight, **dice},
            ],
            ignore_index=ignore_index,
            train_cfg={
                'num_points': num_points,
                'oversample_ratio': oversample_ratio,
                'importance_sample_ratio': importance_sample_ratio,
            },
            feat_channels=channels,
            pixel_decoder=ConfigDict(
                type=ExactPixelDecoder,
                num_outs=_DEFORMABLE_LEVELS,
                norm_cfg={'type': 'GN', 'num_groups': norm_groups},
                act_cfg={'type': 'ReLU'},
                encoder={
                    'num_layers': pixel_layers,
                    'layer_cfg': {
                        'self_attn_cfg': {
                            **_attention(channels, pixel_heads),
                            'num_levels': _DEFORMABLE_LEVELS,
                            'num_points': pixel_points,
                        },
                        'ffn_cfg': _mlp_settings(channels, pixel_feedforward),
                    },
                },
                positional_encoding=position,
            ),
            transformer_decoder=ConfigDict(
                return_intermediate=True,
                num_layers=num_layers,
                layer_cfg={
                    'self_attn_cfg': _attention(channels, num_heads),
                    'cross_attn_cfg': _attention(channels, num_heads),
                    'ffn_cfg': _mlp_settings(channels, feedforward_channels),
                },
            ),
            positional_encoding=position,
            loss_mask=ConfigDict(type=CrossEntropyLoss, use_sigmoid=True, loss_weight=mask_weight),
            loss_dice=ConfigDict(
                type=DiceLoss, activate=True, naive_dice=True, loss_weight=dice_weight, **dice
            ),
            init_cfg=init_cfg,
        )
        self.pooled_embed = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, channels))
        self.logit_scale = nn.Parameter(torch.tensor(_START_SCALE))

    def cosine_scale(self) -> Tensor:
        """The learned temperature, at most 100."""
        return self.logit_scale.exp().clamp(max=LARGEST_SCALE)

    def class_logits(self, embeddings: Tensor, classifier: Classifier) -> Tensor:
        """Class logits (..., K + 1), void last: the best row of a class is its own.

        Args:
            embeddings: (..., E), not normalised.
            classifier: rows and classes.
        """
        logits = self.classify(embeddings, classifier.weight)
        rows, void = logits[..., :-1].flatten(0, -2), logits[..., -1:]
        classes = classifier.groups.class_scores(rows)
        return torch.cat([classes.unflatten(0, logits.shape[:-1]), void], dim=-1)

    def decode(self, features: Sequence[Tensor]) -> LayerOutputs:
        """Queries and masks after each layer, not embedded yet.

        Args:
            features: the backbone's levels.
        """
        found, mask_logits = Mask2FormerHead.forward(self, list(features), [])
        queries = [each for each, _ in found]
        return LayerOutputs(queries, mask_logits, found[0][1])

    def embed(self, outputs: LayerOutputs, layer: int) -> Tensor:
        """Embeddings (B, Q, E) of the queries after a layer.

        Args:
            outputs: of :meth:`decode`.
            layer: index.
        """
        pooled = pool_in_masks(outputs.mask_features, outputs.mask_logits[layer])
        return self.cls_embed(self.pooled_embed(pooled) + outputs.queries[layer])

    def forward_layers(
        self, features: Sequence[Tensor], only_last: bool = False
    ) -> tuple[Tensor, Tensor]:
        """See :class:`TextQueryHead`. Only what is asked for is embedded: masks do not need it."""
        outputs = self.decode(features)
        layers = range(len(outputs.queries))[-1:] if only_last else range(len(outputs.queries))
        embeddings = torch.stack([self.embed(outputs, layer) for layer in layers])
        return embeddings, torch.stack([outputs.mask_logits[layer] for layer in layers])

    def supervise(
        self,
        features: Sequence[Tensor],
        classifier: Classifier,
        targets: Sequence[InstanceData],
        image_size: tuple[int, int],
    ) -> tuple[dict[str, Tensor], LayerOutputs]:
        """Losses of every layer, each with a matching of its own, and what the layers gave.

        Args:
            features: the backbone's levels.
            classifier: the words of the training, classes in label order.
            targets: a ``labels`` (n,) and ``masks`` (n, H, W) for each image.
            image_size: (height, width) of the images, sides multiples of 32.

        Raises:
            UserError: labels without words, or levels of other strides.
        """
        self._check_levels(features, image_size)
        outputs = self.decode(features)
        layers = range(len(outputs.queries))
        logits = self.class_logits(
            torch.stack([self.embed(outputs, layer) for layer in layers]), classifier
        )
        return self.losses(logits, torch.stack(outputs.mask_logits), targets), outputs

    def _forward_head(
        self, decoder_out: Tensor, mask_feature: Tensor, attn_mask_target_size: tuple[int, int]
    ) -> tuple[Any, ...]:
        """mmdet's, which then embeds nothing: that is done for layers that are asked for."""
        _, masks, attention_mask = super()._forward_head(
            decoder_out, mask_feature, attn_mask_target_size
        )
        queries = self.transformer_decoder.post_norm(decoder_out)
        return (queries, mask_feature), masks, attention_mask


def _attention(channels: int, heads: int) -> dict[str, Any]:
    """Mmcv's defaults are dropout 0.1 and the batch second."""
    return {'embed_dims': channels, 'num_heads': heads, 'dropout': 0.0, 'batch_first': True}


def _mlp_settings(channels: int, inner: int) -> dict[str, Any]:
    return {
        'embed_dims': channels,
        'feedforward_channels': inner,
        'num_fcs': 2,
        'ffn_drop': 0.0,
        'act_cfg': {'type': 'ReLU', 'inplace': True},
    }


def _check_widths(
    in_channels: Sequence[int], channels: int, groups: int, heads: int, pixel_heads: int
) -> None:
    if len(in_channels) != _LEVELS:
        raise UserError(
            f'proposals.in_channels has {len(in_channels)} numbers; give one for each of the '
            "backbone's levels of strides 4, 8, 16 and 32"
        )
    for name, parts in (
        ('norm_groups', groups),
        ('num_heads', heads),
        ('pixel_heads', pixel_heads),
        ('sine and cosine of two axes', 4),
    ):
        if channels % parts:
            raise UserError(
                f'proposals.channels={channels} cannot be divided by {parts} ({name}); choose a '
                'multiple'
            )
