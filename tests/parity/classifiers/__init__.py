"""Parity with classifiers over dense features."""

from parity.classifiers import anovl, boundary, cosegment, light, retrieval, words
from parity.golden import GoldenSet

_OTHERS = (
    *('contrastive_concepts', 'floss', 'gda', 'mask_pooling', 'proto_clip'),
    *('rns', 'rns_partial', 'tip_adapter'),
)

GOLDEN = GoldenSet(
    checks={
        'anovl.pt': anovl.check_anovl,
        'boundary_iou.pt': boundary.check_boundaries,
        'clip_adapter.pt': light.check_clip_adapter,
        'coop.pt': light.check_coop,
        'descriptions.pt': words.check_descriptions,
        'freeda_masker.pt': cosegment.check_masker,
        'reco_cosegment.pt': cosegment.check_cosegment,
        'retrieval_fusion.pt': retrieval.check_fusion,
        'vdt_adapter.pt': light.check_vdt_adapter,
    },
    not_covered={f'{name}.pt': 'it has no check yet' for name in _OTHERS},
)
