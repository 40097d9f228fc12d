"""Guides and mixers: what tells which patches of an image belong together, and what is an object.

A guide pools features after the encoder; a mixer takes the place of CLIP's last attention.
"""

from ovseg.guides.corr_clip import CorrCLIPEncoder
from ovseg.guides.dino_teacher import DINOTeacher
from ovseg.guides.dinoiser import DINOiserGuide
from ovseg.guides.guide import Guidance, Guide, apply_guide
from ovseg.guides.proxy_clip import ProxyCLIPEncoder

__all__ = [
    'CorrCLIPEncoder',
    'DINOTeacher',
    'DINOiserGuide',
    'Guidance',
    'Guide',
    'ProxyCLIPEncoder',
    'apply_guide',
]
