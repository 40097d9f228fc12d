"""Parity with classifiers over dense features."""

from parity.classifiers import exemplars, retrieval
from parity.golden import GoldenSet

_OTHERS = (
    *('anovl', 'boundary_iou', 'clip_adapter', 'contrastive_concepts', 'coop', 'descriptions'),
    *('floss', 'freeda_masker', 'reco_cosegment', 'vdt_adapter'),
)

GOLDEN = GoldenSet(
    checks={
        'retrieval_fusion.pt': retrieval.check_fusion,
        'mask_pooling.pt': exemplars.check_pooling,
        'gda.pt': exemplars.check_gda,
        'tip_adapter.pt': exemplars.check_tip,
        'proto_clip.pt': exemplars.check_proto_clip,
        'rns.pt': exemplars.check_rns,
        'rns_partial.pt': exemplars.check_rns,
    },
    not_covered={f'{name}.pt': 'it has no check yet' for name in _OTHERS},
)
