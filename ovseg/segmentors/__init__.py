"""Segmentors: they wire encoder, words, refiners and upsampling into mmseg's interface."""

from ovseg.scores.encoding import ImageEncoding
from ovseg.segmentors.clip_dinoiser import CLIPDINOiser
from ovseg.segmentors.corrclip import CorrCLIP
from ovseg.segmentors.dense_clip import DenseCLIP
from ovseg.segmentors.mask_adapted_clip import OVSeg
from ovseg.segmentors.maskclip_plus import MaskCLIPPlusSegmentor
from ovseg.segmentors.trained import TrainedSegmentor
from ovseg.segmentors.training_free import TrainingFreeSegmentor
from ovseg.segmentors.trident import Trident

__all__ = [
    'CLIPDINOiser',
    'CorrCLIP',
    'DenseCLIP',
    'ImageEncoding',
    'MaskCLIPPlusSegmentor',
    'OVSeg',
    'TrainedSegmentor',
    'TrainingFreeSegmentor',
    'Trident',
]
