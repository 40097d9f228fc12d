"""Mask2Former whose queries are embedded in CLIP's text space, with what lies under their masks."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import partial
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
from ovseg.training.heads.deformable_sampling import BagAttention
from ovseg.training.heads.masked_decoding import LayerOutputs, PixelMaps, decode_queries
from ovseg.training.heads.text_guide import TextGuide
from ovseg.training.heads.text_queries import Proposals, TextQueryHead
from ovseg.training.losses.relations import relation_distillation

# Levels of the backbone: strides 4, 8, 16 and 32; the pixel decoder's attention reads the last 3.
_LEVELS = 4
_DEFORMABLE_LEVELS = 3
_CLASS_LAYERS = 3
_DICE_SMOOTHING = 1.0
# CLIP's start of the temperature, and its largest value, which holds here, too.
_START_SCALE = math.log(1 / 0.07)
LARGEST_SCALE = 100.0


class ExactPixelDecoder(MSDeformAttnPixelDecoder):
    """mmdet's, in float32 even where the rest is computed in half precision, as published.

    On a CPU its attention reads the maps as a table, see
    :class:`~ovseg.training.heads.deformable_sampling.BagAttention`.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        for layer in self.encoder.layers:
            layer.self_attn = BagAttention(**layer.self_attn_cfg)

    def forward(self, feats: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Mask features and three maps, coarse to fine.

        Args:
            feats: the backbone's levels.
        """
        with torch.autocast(feats[0].device.type, enabled=False), warnings.catch_warnings():
            # mmdet's grid of points.
            warnings.filterwarnings('ignore', 'torch.meshgrid: in an upcoming release')
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
        text_guided: the queries look at the words, so masks follow them: PMP's idea, see
            :class:`~ovseg.training.heads.text_guide.TextGuide`. No weights are published.
        relation_weight: of GKC's distillation, see
            :func:`~ovseg.training.losses.relations.relation_distillation`; published 10. 0 leaves
            it out, and so do the published FC-CLIP and MAFT+.
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
        text_guided: bool = False,
        relation_weight: float = 0.0,
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
        self.text_guide = (
            TextGuide(embed_dim, channels, num_heads, num_layers) if text_guided else None
        )
        self.relation_weight = relation_weight
        if relation_weight:
            self.relation_scale = nn.Parameter(torch.ones(()))
        # Which query was matched with which target, while someone asks: a pair of tensors a layer
        # and image.
        self._matches: list[tuple[Tensor, Tensor]] | None = None

    @property
    def is_guided(self) -> bool:
        """Whether masks follow the words."""
        return self.text_guide is not None

    def option_weights(self) -> dict[str, Tensor]:
        """Weights that published checkpoints do not have, of the options that are on."""
        options = ('text_guide.', 'relation_scale')
        return {k: value for k, value in self.state_dict().items() if k.startswith(options)}

    def init_weights(self) -> None:
        """Initialises as mmdet does; the guide moves nothing yet."""
        super().init_weights()
        if self.text_guide is not None:
            self.text_guide.reset()

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

    def pixel_maps(self, features: Sequence[Tensor]) -> PixelMaps:
        """What the pixel decoder makes of images, whatever the words.

        Args:
            features: the backbone's levels.
        """
        return PixelMaps(*self.pixel_decoder(list(features)))

    def decode(
        self, maps: PixelMaps, rows: Tensor | None = None, only_last: bool = False
    ) -> LayerOutputs:
        """Queries and masks after each layer, not embedded yet.

        Args:
            maps: of :meth:`pixel_maps`.
            rows: (P, E) text rows, unit vectors, which only a guided head looks at.
            only_last: of the last layer alone.

        Raises:
            UserError: a guided head without rows.
        """
        if self.text_guide is None:
            return decode_queries(self, maps, only_last=only_last)
        if rows is None:
            raise UserError(
                'the masks of proposals.text_guided follow the words: ask for them with a '
                'classifier'
            )
        return decode_queries(self, maps, partial(self.text_guide, rows=rows), only_last)

    def propose(self, maps: PixelMaps, rows: Tensor | None = None) -> Proposals:
        """Masks and embeddings of the last layer.

        Args:
            maps: of :meth:`pixel_maps`.
            rows: see :meth:`decode`.
        """
        outputs = self.decode(maps, rows, only_last=True)
        return Proposals(outputs.mask_logits[-1], self.embed(outputs, -1))

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
        outputs = self.decode(self.pixel_maps(features), only_last=only_last)
        return self._embeddings(outputs), torch.stack(outputs.mask_logits)

    def _embeddings(self, outputs: LayerOutputs) -> Tensor:
        """(L, B, Q, E) of all layers that are there."""
        return torch.stack([self.embed(outputs, layer) for layer in range(len(outputs.queries))])

    def supervise(
        self,
        features: Sequence[Tensor],
        classifier: Classifier,
        targets: Sequence[InstanceData],
        image_size: tuple[int, int],
        taught: Sequence[Tensor] | None = None,
    ) -> tuple[dict[str, Tensor], LayerOutputs]:
        """Losses of every layer, each with a matching of its own, and what the layers gave.

        Args:
            features: the backbone's levels.
            classifier: the words of the training, classes in label order.
            targets: a ``labels`` (n,) and ``masks`` (n, H, W) for each image.
            image_size: (height, width) of the images, sides multiples of 32.
            taught: (n, E) for each image, CLIP's embeddings of the targets, where `relation_weight`
                asks for them.

        Raises:
            UserError: labels without words, or levels of other strides.
        """
        self._check_levels(features, image_size)
        outputs = self.decode(self.pixel_maps(features), classifier.weight)
        embeddings = self._embeddings(outputs)
        logits = self.class_logits(embeddings, classifier)
        self._matches = []
        try:
            losses = self.losses(logits, torch.stack(outputs.mask_logits), targets)
            if self.relation_weight and taught is not None:
                losses |= self._relations(embeddings, classifier, targets, taught)
        finally:
            self._matches = None
        return losses, outputs

    def _relations(
        self,
        embeddings: Tensor,
        classifier: Classifier,
        targets: Sequence[InstanceData],
        taught: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        """GKC's distillation of every layer, by the names of mmdet's losses."""
        assert self._matches is not None
        first = classifier.groups.first_rows
        row_of = first.new_zeros(classifier.num_classes)
        row_of[classifier.class_index[first]] = first
        losses = {}
        for number, layer in enumerate(embeddings):
            matches = self._matches[number * len(targets) : (number + 1) * len(targets)]
            loss = relation_distillation(
                [own[queries] for own, (queries, _) in zip(layer, matches, strict=True)],
                [clip[found] for clip, (_, found) in zip(taught, matches, strict=True)],
                [
                    classifier.weight[row_of[target.labels[found]]]
                    for target, (_, found) in zip(targets, matches, strict=True)
                ],
                self.relation_scale,
            )
            is_last = number == len(embeddings) - 1
            name = 'loss_relation' if is_last else f'd{number}.loss_relation'
            losses[name] = self.relation_weight * loss
        return losses

    def _get_targets_single(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """mmdet's, which tells who was matched."""
        found = super()._get_targets_single(*args, **kwargs)
        if self._matches is not None:
            sampled = found[-1]
            self._matches.append((sampled.pos_inds, sampled.pos_assigned_gt_inds))
        return found


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
