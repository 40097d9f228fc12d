"""Segmentors: they wire encoder, words, refiners and upsampling into mmseg's interface."""

from ovseg.segmentors.clip_dinoiser import CLIPDINOiser
from ovseg.segmentors.training_free import ImageEncoding, TrainingFreeSegmentor

__all__ = ['CLIPDINOiser', 'ImageEncoding', 'TrainingFreeSegmentor']
