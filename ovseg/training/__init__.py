"""What trains: heads, losses, detectors, pseudo labels, and CLIP's adaptation to masked regions."""

from ovseg.training.mask_adaptation import MaskAdaptation

__all__ = ['MaskAdaptation']
