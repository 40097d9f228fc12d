"""Losses, as functions of tensors."""

from ovseg.training.losses.box_segmentation import box_raster, box_segmentation_loss
from ovseg.training.losses.contrastive import contrastive_loss
from ovseg.training.losses.cross_entropy import PixelCrossEntropy, upsampled_cross_entropy
from ovseg.training.losses.guide_distillation import correlation_loss, foreground_loss
from ovseg.training.losses.mask_losses import attention_outside, dice_loss, focal_loss, mask_iou
from ovseg.training.losses.sigmoid_pairs import sigmoid_pair_loss

__all__ = [
    'PixelCrossEntropy',
    'attention_outside',
    'box_raster',
    'box_segmentation_loss',
    'contrastive_loss',
    'correlation_loss',
    'dice_loss',
    'focal_loss',
    'foreground_loss',
    'mask_iou',
    'sigmoid_pair_loss',
    'upsampled_cross_entropy',
]
