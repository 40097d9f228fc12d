"""Segmentors: they wire encoder, words, refiners and upsampling into mmseg's interface."""

from ovseg.segmentors.clip_dinoiser import CLIPDINOiser
from ovseg.segmentors.maskclip_plus import MaskCLIPPlusSegmentor
from ovseg.segmentors.training_free import ImageEncoding, TrainingFreeSegmentor
from ovseg.segmentors.trident import Trident

__all__ = [
    'CLIPDINOiser',
    'ImageEncoding',
    'MaskCLIPPlusSegmentor',
    'TrainingFreeSegmentor',
    'Trident',
]
