"""Heads: trained decoders in front of a classifier of text rows."""

from ovseg.heads.context_decoder import ContextDecoder
from ovseg.heads.decode_modules import DeepLabV2Module, build_decode_module
from ovseg.heads.identity import IdentityHead
from ovseg.heads.maskclip_plus import MaskCLIPPlusHead

__all__ = [
    'ContextDecoder',
    'DeepLabV2Module',
    'IdentityHead',
    'MaskCLIPPlusHead',
    'build_decode_module',
]
