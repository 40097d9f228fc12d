"""Parity with classifiers over dense features."""

from parity.classifiers import (
    anovl,
    boundary,
    cosegment,
    exemplars,
    light,
    retrieval,
    words,
)
from parity.golden import GoldenSet

GOLDEN = GoldenSet(
    checks={
        'anovl.pt': anovl.check_anovl,
        'boundary_iou.pt': boundary.check_boundaries,
        'clip_adapter.pt': light.check_clip_adapter,
        'coop.pt': light.check_coop,
        'descriptions.pt': words.check_descriptions,
        'contrastive_concepts.pt': words.check_contrast,
        'floss.pt': words.check_experts,
        'freeda_masker.pt': cosegment.check_masker,
        'gda.pt': exemplars.check_gda,
        'mask_pooling.pt': exemplars.check_pooling,
        'proto_clip.pt': exemplars.check_proto_clip,
        'reco_cosegment.pt': cosegment.check_cosegment,
        'retrieval_fusion.pt': retrieval.check_fusion,
        'rns.pt': exemplars.check_rns,
        'rns_partial.pt': exemplars.check_rns,
        'tip_adapter.pt': exemplars.check_tip,
        'vdt_adapter.pt': light.check_vdt_adapter,
    },
)
