"""Training of the embedded models, each as its original is trained, and of CLIP on regions."""

from __future__ import annotations

from ovseg.pretraining.clip_contrast import CLIPContrast, contrastive_loss
from ovseg.pretraining.found import FoundTraining, background_mask, found_loss
from ovseg.pretraining.mask_adaptation import MaskAdaptation
from ovseg.pretraining.promptable_masks import PromptableMasks
from ovseg.pretraining.self_distillation import SelfDistillation, distillation_loss

__all__ = [
    'CLIPContrast',
    'FoundTraining',
    'MaskAdaptation',
    'PromptableMasks',
    'SelfDistillation',
    'background_mask',
    'contrastive_loss',
    'distillation_loss',
    'found_loss',
]
