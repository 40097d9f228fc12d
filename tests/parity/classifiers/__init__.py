"""Parity with classifiers over dense features."""

from parity.classifiers import boundary, retrieval
from parity.golden import GoldenSet

_OTHERS = (
    *('anovl', 'clip_adapter', 'contrastive_concepts', 'coop', 'descriptions'),
    *('floss', 'freeda_masker', 'gda', 'mask_pooling', 'proto_clip', 'reco_cosegment', 'rns'),
    *('rns_partial', 'tip_adapter', 'vdt_adapter'),
)

GOLDEN = GoldenSet(
    checks={
        'boundary_iou.pt': boundary.check_boundaries,
        'retrieval_fusion.pt': retrieval.check_fusion,
    },
    not_covered={f'{name}.pt': 'it has no check yet' for name in _OTHERS},
)
