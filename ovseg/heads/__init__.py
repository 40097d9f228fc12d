"""Heads: trained decoders in front of a classifier of text rows."""

from ovseg.heads.context_decoder import ContextDecoder
from ovseg.heads.decode_modules import DeepLabV2Module, build_decode_module
from ovseg.heads.identity import IdentityHead
from ovseg.heads.maskclip_plus import MaskCLIPPlusHead
from ovseg.heads.open_vocabulary_maskformer import OpenVocabularyMaskFormer, Proposals

__all__ = [
    'ContextDecoder',
    'DeepLabV2Module',
    'IdentityHead',
    'MaskCLIPPlusHead',
    'OpenVocabularyMaskFormer',
    'Proposals',
    'build_decode_module',
]
