"""Parity with FC-CLIP and MAFT+."""

from parity.golden import GoldenSet
from parity.maftplus import forward, training, units, words

GOLDEN = GoldenSet(
    checks={
        'text.pt': words.check_text,
        'units.pt': units.check_units,
        'fcclip_convnext_weights.pt': forward.check_weights,
        'fcclip_resnet_weights.pt': forward.check_weights,
        'maftplus_weights.pt': forward.check_weights,
        'maftplus_teacher_weights.pt': forward.check_teacher,
        'fcclip_convnext_forward.pt': forward.check_forward,
        'maftplus_forward.pt': forward.check_forward,
        'fcclip_convnext_tail.pt': forward.check_tail,
        'fcclip_resnet_tail.pt': forward.check_tail,
        'fcclip_convnext_train.pt': training.check_training,
        'maftplus_train.pt': training.check_training,
    },
    marks={'text.pt': 'token_embedding_rows', 'units.pt': 'cdt_semantic'},
)
