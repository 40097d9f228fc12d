"""Parity with SAM 3 as a semantic segmenter: its heads, SegEarth-OV3, ActiveSAM, ConceptBank."""

from parity.golden import GoldenSet
from parity.sam3 import cases, heads, units

GOLDEN = GoldenSet(
    checks={
        'heads.pt': heads.check_heads,
        'case_segearth.pt': cases.check_segearth,
        'case_activesam.pt': cases.check_activesam,
        'units.pt': units.check_units,
        'weights.pt': heads.check_weights,
    },
    marks={
        'heads.pt': 'without_geometry_token',
        'case_segearth.pt': 'variants',
        'case_activesam.pt': 'variants',
        'units.pt': 'conceptbank_fuse',
        'weights.pt': 'preview_image_size',
    },
)
