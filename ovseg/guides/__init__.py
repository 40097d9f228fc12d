"""Guides: they tell which patches of an image belong together, and what is an object."""

from ovseg.guides.correlation import patch_correlation, pool_by_affinity
from ovseg.guides.dino_teacher import DINOTeacher
from ovseg.guides.dinoiser import DINOiserGuide
from ovseg.guides.guide import Guidance, Guide, apply_guide
from ovseg.guides.region_maps import RegionFolder, SAMRegions

__all__ = [
    'DINOTeacher',
    'DINOiserGuide',
    'Guidance',
    'Guide',
    'RegionFolder',
    'SAMRegions',
    'apply_guide',
    'patch_correlation',
    'pool_by_affinity',
]
