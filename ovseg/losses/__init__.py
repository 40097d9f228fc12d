"""Losses, as functions of tensors."""

from ovseg.losses.guide_distillation import correlation_loss, foreground_loss

__all__ = ['correlation_loss', 'foreground_loss']
