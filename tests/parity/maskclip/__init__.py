"""Parity with MaskCLIP and MaskCLIP+."""

from parity.golden import GoldenSet
from parity.maskclip import dense, plus

GOLDEN = GoldenSet(
    checks={
        'preprocess.pt': dense.check_preprocess,
        'vit_dense.pt': dense.check_weights_and_text,
        'resnet_dense.pt': dense.check_weights_and_text,
        'vit_dense_cases.pt': dense.check_vit_cases,
        'resnet_dense_cases.pt': dense.check_resnet_cases,
        'maskclip_variants.pt': dense.check_variants,
        'maskclip_plus.pt': plus.check_training_steps,
    }
)
