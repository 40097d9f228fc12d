"""What runs models: the Runner of the tools, its hooks, checkpoints and test-time augmentation."""

from ovseg.engine.checkpoint import (
    install_safe_loading,
    latest_checkpoint,
    load_checkpoint_strict,
    unwrap,
)
from ovseg.engine.logit_scale import LogitScaleHook
from ovseg.engine.overlays import OverlayHook
from ovseg.engine.random_state import RandomStateHook
from ovseg.engine.runner import OVRunner
from ovseg.engine.sample_seeds import SampleSeedHook
from ovseg.engine.trainable import TrainableParamsConstructor
from ovseg.engine.tta import OVSegTTA, augmented_pipeline
from ovseg.engine.vocabulary_check import VocabularyCheckHook, check_classes
from ovseg.engine.warmup_cosine import WarmupCosineLR
from ovseg.weight_files import read_checkpoint

__all__ = [
    'LogitScaleHook',
    'OVRunner',
    'OVSegTTA',
    'OverlayHook',
    'RandomStateHook',
    'SampleSeedHook',
    'TrainableParamsConstructor',
    'VocabularyCheckHook',
    'WarmupCosineLR',
    'augmented_pipeline',
    'check_classes',
    'install_safe_loading',
    'latest_checkpoint',
    'load_checkpoint_strict',
    'read_checkpoint',
    'unwrap',
]
