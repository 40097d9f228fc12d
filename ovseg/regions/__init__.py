"""Regions of an image: where masks come from, and what class each of them has."""

from ovseg.regions.mask_proposals import RegionProposals
from ovseg.regions.region_maps import RegionFolder, SAMRegions
from ovseg.regions.sam3_regions import SAM3Regions

__all__ = ['RegionFolder', 'RegionProposals', 'SAM3Regions', 'SAMRegions']
