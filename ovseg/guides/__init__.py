"""Guides and mixers: what tells which patches of an image belong together, and what is an object.

A guide pools features after the encoder; a mixer takes the place of CLIP's last attention.
"""

from ovseg.guides.dino_teacher import DINOTeacher
from ovseg.guides.dinoiser import DINOiserGuide
from ovseg.guides.guide import Guidance, Guide, apply_guide
from ovseg.guides.mixed_clip import CorrCLIPEncoder, MixedCLIPEncoder, ProxyCLIPEncoder
from ovseg.guides.mixer import Look, Mixer
from ovseg.guides.proxy_mixer import ProxyAttention
from ovseg.guides.region_mixer import RegionMixer

__all__ = [
    'CorrCLIPEncoder',
    'DINOTeacher',
    'DINOiserGuide',
    'Guidance',
    'Guide',
    'Look',
    'MixedCLIPEncoder',
    'Mixer',
    'ProxyAttention',
    'ProxyCLIPEncoder',
    'RegionMixer',
    'apply_guide',
]
