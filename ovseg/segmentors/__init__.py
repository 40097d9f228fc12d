"""Segmentors: a method each, as three verbs (see :mod:`ovseg.segmentors.base`)."""

from ovseg.scores.encoding import ImageEncoding
from ovseg.segmentors.base import Segmentor
from ovseg.segmentors.clip_dinoiser import CLIPDINOiser
from ovseg.segmentors.corrclip import CorrCLIP
from ovseg.segmentors.dense_clip import DenseCLIP
from ovseg.segmentors.fc_clip import FCCLIP
from ovseg.segmentors.maft_plus import MAFTPlus
from ovseg.segmentors.mask_adapted_clip import OVSeg
from ovseg.segmentors.mask_segmentor import MaskSegmentor
from ovseg.segmentors.maskclip_plus import MaskCLIPPlusSegmentor
from ovseg.segmentors.radseg import RADSeg
from ovseg.segmentors.trained import TrainedSegmentor
from ovseg.segmentors.training_free import TrainingFreeSegmentor
from ovseg.segmentors.trident import Trident

__all__ = [
    'CLIPDINOiser',
    'CorrCLIP',
    'DenseCLIP',
    'FCCLIP',
    'ImageEncoding',
    'MAFTPlus',
    'MaskCLIPPlusSegmentor',
    'MaskSegmentor',
    'OVSeg',
    'RADSeg',
    'Segmentor',
    'TrainedSegmentor',
    'TrainingFreeSegmentor',
    'Trident',
]
