"""Heads: trained decoders in front of a classifier of text rows."""

from ovseg.training.heads.context_decoder import ContextDecoder
from ovseg.training.heads.decode_modules import DeepLabV2Module, build_decode_module
from ovseg.training.heads.identity import IdentityHead
from ovseg.training.heads.maskclip_plus import MaskCLIPPlusHead
from ovseg.training.heads.masked_attention_head import MaskedAttentionHead
from ovseg.training.heads.open_vocabulary_maskformer import OpenVocabularyMaskFormer
from ovseg.training.heads.text_queries import Proposals, TextQueryHead

__all__ = [
    'ContextDecoder',
    'DeepLabV2Module',
    'IdentityHead',
    'MaskCLIPPlusHead',
    'MaskedAttentionHead',
    'OpenVocabularyMaskFormer',
    'Proposals',
    'TextQueryHead',
    'build_decode_module',
]
