"""Training of the embedded models: each as its original is trained, on Scenes."""

from __future__ import annotations

from ovseg.pretraining.clip_contrast import CLIPContrast, contrastive_loss

__all__ = ['CLIPContrast', 'contrastive_loss']
