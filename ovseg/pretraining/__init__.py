"""Training of the embedded models: each as its original is trained, on Scenes."""

from __future__ import annotations

from ovseg.pretraining.clip_contrast import CLIPContrast, contrastive_loss
from ovseg.pretraining.self_distillation import SelfDistillation, distillation_loss

__all__ = ['CLIPContrast', 'SelfDistillation', 'contrastive_loss', 'distillation_loss']
