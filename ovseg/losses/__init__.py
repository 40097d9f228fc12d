"""Losses, as functions of tensors."""

from ovseg.losses.box_segmentation import box_raster, box_segmentation_loss
from ovseg.losses.cross_entropy import PixelCrossEntropy, upsampled_cross_entropy
from ovseg.losses.guide_distillation import correlation_loss, foreground_loss
from ovseg.losses.mask_losses import attention_outside, dice_loss, focal_loss, mask_iou

__all__ = [
    'PixelCrossEntropy',
    'attention_outside',
    'box_raster',
    'box_segmentation_loss',
    'correlation_loss',
    'dice_loss',
    'focal_loss',
    'foreground_loss',
    'mask_iou',
    'upsampled_cross_entropy',
]
