"""Parity with CLIP-DINOiser."""

from parity.clip_dinoiser import checks, training
from parity.golden import GoldenSet
from parity.maskclip.dense import check_variants

GOLDEN = GoldenSet(
    checks={
        'weights.pt': checks.check_weights,
        'inference_cases.pt': checks.check_inference,
        'slide.pt': checks.check_slide,
        'teachers.pt': checks.check_teachers,
        'teacher_signals.pt': checks.check_teacher_signals,
        'dinoclip_teacher_model.pt': checks.check_teacher_model,
        'final_feats.pt': checks.check_final_features,
        'training.pt': training.check_training,
        'imagenet_subset_indices.pt': checks.check_subset,
        'maskclip_variants.pt': check_variants,
    },
    marks={'weights.pt': 'class_embeddings'},
)
