"""Parity with classifiers over dense features."""

from parity.classifiers import retrieval, words
from parity.golden import GoldenSet

_OTHERS = (
    *('anovl', 'boundary_iou', 'clip_adapter', 'coop'),
    *('freeda_masker', 'gda', 'mask_pooling', 'proto_clip', 'reco_cosegment', 'rns'),
    *('rns_partial', 'tip_adapter', 'vdt_adapter'),
)

GOLDEN = GoldenSet(
    checks={
        'retrieval_fusion.pt': retrieval.check_fusion,
        'descriptions.pt': words.check_descriptions,
        'floss.pt': words.check_experts,
        'contrastive_concepts.pt': words.check_contrast,
    },
    not_covered={f'{name}.pt': 'it has no check yet' for name in _OTHERS},
)
