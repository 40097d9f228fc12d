"""Parts of MaskFormer: its MLPs, and the settings of mmdet's decoder, losses and matching."""

from __future__ import annotations

from typing import Any

from mmdet.models.losses import CrossEntropyLoss, DiceLoss, FocalLoss
from mmdet.models.task_modules.assigners import (
    ClassificationCost,
    DiceCost,
    FocalLossCost,
    HungarianAssigner,
)
from mmdet.models.task_modules.samplers import MaskPseudoSampler
from mmengine.config import ConfigDict
from torch import nn

FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2.0
# Added above and below Dice's fraction.
_DICE_SMOOTHING = 1.0


def mlp(width: int, inner: int, outer: int, layers: int) -> nn.Sequential:
    """Linear layers with ReLU between them, not after the last.

    Args:
        width: of the input.
        inner: width between the layers.
        outer: width of the output.
        layers: count.
    """
    widths = [width, *[inner] * (layers - 1), outer]
    parts: list[nn.Module] = []
    for fan_in, fan_out in zip(widths[:-1], widths[1:], strict=True):
        parts += [nn.Linear(fan_in, fan_out), nn.ReLU(inplace=True)]
    return nn.Sequential(*parts[:-1])


def decoder_settings(
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


def loss_settings(
    class_weight: float, mask_weight: float, dice_weight: float, no_object_weight: float
) -> dict[str, ConfigDict]:
    """Settings of MaskFormer's losses and of the matching, which goes by the same quantities.

    Args:
        class_weight: of the cross entropy, and of the probability in matching.
        mask_weight: of the focal loss.
        dice_weight: of the Dice loss.
        no_object_weight: of "no object", the last class. The others are told later, as only the
            words say how many there are.

    Source: MaskFormer (arXiv 2107.06278) section 3.3.
    """
    focal = {'alpha': FOCAL_ALPHA, 'gamma': FOCAL_GAMMA}
    dice = {'eps': _DICE_SMOOTHING, 'naive_dice': True}
    return {
        'loss_cls': ConfigDict(
            type=CrossEntropyLoss, loss_weight=class_weight, class_weight=[no_object_weight]
        ),
        'loss_mask': ConfigDict(type=FocalLoss, use_sigmoid=True, loss_weight=mask_weight, **focal),
        'loss_dice': ConfigDict(type=DiceLoss, activate=True, loss_weight=dice_weight, **dice),
        'train_cfg': ConfigDict(
            assigner={
                'type': HungarianAssigner,
                'match_costs': [
                    {'type': ClassificationCost, 'weight': class_weight},
                    {'type': FocalLossCost, 'binary_input': True, 'weight': mask_weight, **focal},
                    {'type': DiceCost, 'pred_act': True, 'weight': dice_weight, **dice},
                ],
            },
            sampler={'type': MaskPseudoSampler},
        ),
    }
