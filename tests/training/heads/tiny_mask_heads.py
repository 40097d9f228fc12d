"""Two mask decoders with the text side of queries: ours, and mmdet's Mask2Former in a few lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from mmdet.models.dense_heads import Mask2FormerHead
from mmdet.models.losses import CrossEntropyLoss, DiceLoss
from mmdet.models.task_modules.assigners import CrossEntropyLossCost, DiceCost
from mmengine.config import ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.registry import MODELS
from ovseg.training.heads import OpenVocabularyMaskFormer, TextQueryHead

CHANNELS, EMBED, QUERIES, LAYERS, HEADS, HIDDEN = (4, 6, 8, 10), 12, 7, 3, 2, 16
SIZE = (64, 96)
MASKFORMER = dict(
    in_channels=CHANNELS,
    embed_dim=EMBED,
    num_queries=QUERIES,
    feat_channels=8,
    mask_channels=20,
    hidden_channels=HIDDEN,
    num_heads=HEADS,
    feedforward_channels=24,
    num_layers=LAYERS,
    class_channels=18,
    norm_groups=2,
)
_ATTENTION = dict(embed_dims=HIDDEN, num_heads=HEADS, dropout=0.0, batch_first=True)
_MLP = dict(embed_dims=HIDDEN, feedforward_channels=24, num_fcs=2, ffn_drop=0.0)
_POSITION = dict(num_feats=HIDDEN // 2, normalize=True)
_DICE = dict(naive_dice=True, eps=1.0)
_PARTS = ConfigDict(
    feat_channels=HIDDEN,
    pixel_decoder=dict(
        type='mmdet.MSDeformAttnPixelDecoder',
        num_outs=3,
        norm_cfg=dict(type='GN', num_groups=2),
        act_cfg=dict(type='ReLU'),
        encoder=dict(
            num_layers=1,
            layer_cfg=dict(
                self_attn_cfg=dict(**_ATTENTION, num_levels=3, num_points=2), ffn_cfg=_MLP
            ),
        ),
        positional_encoding=_POSITION,
    ),
    transformer_decoder=dict(
        return_intermediate=True,
        num_layers=LAYERS - 1,  # the queries before the first are supervised, too
        layer_cfg=dict(self_attn_cfg=_ATTENTION, cross_attn_cfg=_ATTENTION, ffn_cfg=_MLP),
    ),
    positional_encoding=_POSITION,
    loss_mask=dict(type=CrossEntropyLoss, use_sigmoid=True, loss_weight=5.0),
    loss_dice=dict(type=DiceLoss, activate=True, loss_weight=5.0, **_DICE),
)


@MODELS.register_module()
class WordsMask2Former(TextQueryHead, Mask2FormerHead):
    """mmdet's Mask2Former in the text space, as FC-CLIP has it.

    It learns its temperature, and what lies under a mask helps to embed its query.
    """

    def __init__(self, in_channels: Sequence[int], embed_dim: int, num_queries: int) -> None:
        super().__init__(
            in_channels=in_channels,
            embed_dim=embed_dim,
            num_queries=num_queries,
            query_channels=HIDDEN,
            mask_channels=HIDDEN,
            class_channels=HIDDEN,
            class_layers=3,
            class_weight=2.0,
            no_object_weight=0.1,
            mask_costs=[
                dict(type=CrossEntropyLossCost, weight=5.0, use_sigmoid=True),
                dict(type=DiceCost, weight=5.0, pred_act=True, eps=1.0),
            ],
            train_cfg=dict(num_points=96),
            **_PARTS,
        )
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.pooled_proj = nn.Linear(HIDDEN, HIDDEN)

    def cosine_scale(self) -> Tensor:
        return self.logit_scale.exp().clamp(max=100)

    def _forward_head(
        self, queries: Tensor, mask_features: Tensor, size: tuple[int, int]
    ) -> tuple[Tensor, ...]:
        _, masks, attention_mask = super()._forward_head(queries, mask_features, size)
        inside = (masks > 0).float()
        pooled = torch.einsum('bqhw,bchw->bqc', inside, mask_features)
        pooled = pooled / (inside.sum((2, 3))[..., None] + 1e-8)
        queries = self.transformer_decoder.post_norm(queries) + self.pooled_proj(pooled)
        return self.cls_embed(queries), masks, attention_mask

    def forward_layers(
        self, features: Sequence[Tensor], only_last: bool = False
    ) -> tuple[Tensor, Tensor]:
        embeddings, masks = Mask2FormerHead.forward(self, features, [])
        return torch.stack(embeddings), torch.stack(masks)


def build(kind: str) -> TextQueryHead:
    """A head with weights of which none is 0 or 1.

    Args:
        kind: ``'maskformer'`` or ``'mask2former'``.
    """
    torch.manual_seed(0)
    head: Any = (
        OpenVocabularyMaskFormer(**MASKFORMER)
        if kind == 'maskformer'
        else WordsMask2Former(CHANNELS, EMBED, QUERIES)
    )
    for name, value in head.named_parameters():
        if name != 'logit_scale':
            nn.init.normal_(value, std=0.3)
    return head


def levels() -> list[Tensor]:
    """What a backbone gives for two images of ``SIZE``."""
    torch.manual_seed(1)
    sides = [(SIZE[0] // stride, SIZE[1] // stride) for stride in (4, 8, 16, 32)]
    return [torch.randn(2, c, *side) for c, side in zip(CHANNELS, sides, strict=True)]


def words(count: int) -> Tensor:
    """(count, E), unit vectors."""
    torch.manual_seed(2)
    return F.normalize(torch.randn(count, EMBED), dim=-1)


def samples(*maps: Tensor) -> list[SimpleNamespace]:
    """Data samples with these label maps."""
    return [SimpleNamespace(gt_sem_seg=SimpleNamespace(data=map_[None])) for map_ in maps]


def label_map(*classes: int) -> Tensor:
    """Columns of equal width, one a class."""
    columns = torch.arange(SIZE[1]) * len(classes) // SIZE[1]
    return torch.tensor(classes)[columns].expand(SIZE[0], -1).clone()
