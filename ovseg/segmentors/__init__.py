"""Segmentors: a method each, as three verbs (see :mod:`ovseg.segmentors.base`)."""

from ovseg.scores.encoding import ImageEncoding
from ovseg.segmentors.anovl import AnoVL
from ovseg.segmentors.base import Segmentor
from ovseg.segmentors.clip_dinoiser import CLIPDINOiser
from ovseg.segmentors.corrclip import CorrCLIP
from ovseg.segmentors.dense_clip import DenseCLIP
from ovseg.segmentors.fc_clip import FCCLIP
from ovseg.segmentors.lightly_trained import LightlyTrained
from ovseg.segmentors.maft_plus import MAFTPlus
from ovseg.segmentors.mask_adapted_clip import OVSeg
from ovseg.segmentors.mask_segmentor import MaskSegmentor
from ovseg.segmentors.maskclip_plus import MaskCLIPPlusSegmentor
from ovseg.segmentors.radseg import RADSeg
from ovseg.segmentors.sam3 import SAM3Segmentor
from ovseg.segmentors.trained import TrainedSegmentor
from ovseg.segmentors.training_free import TrainingFreeSegmentor
from ovseg.segmentors.trident import Trident

__all__ = [
    'AnoVL',
    'CLIPDINOiser',
    'CorrCLIP',
    'DenseCLIP',
    'FCCLIP',
    'ImageEncoding',
    'MAFTPlus',
    'LightlyTrained',
    'MaskCLIPPlusSegmentor',
    'MaskSegmentor',
    'OVSeg',
    'RADSeg',
    'SAM3Segmentor',
    'Segmentor',
    'TrainedSegmentor',
    'TrainingFreeSegmentor',
    'Trident',
]
