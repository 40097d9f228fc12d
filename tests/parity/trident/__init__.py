"""Parity with Trident."""

from parity.golden import GoldenSet
from parity.trident import refinement, stages

GOLDEN = GoldenSet(
    checks={
        'weights_clip*.pt': stages.check_clip_weights,
        'weights_dino*.pt': stages.check_dino_weights,
        'weights_sam*.pt': stages.check_sam_weights,
        'units.pt': stages.check_units,
        'stage_refine.pt': refinement.check_stage_refine,
        'case_*.pt': stages.check_case,
    },
    marks={'units.pt': 'affinity', 'case_*.pt': 'mid'},
)
