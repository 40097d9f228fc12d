"""What runs models: the Runner of the tools, its hooks, checkpoints and test-time augmentation."""

from ovseg.engine.checkpoint import (
    install_safe_loading,
    load_checkpoint_strict,
    unwrap,
)
from ovseg.engine.checkpoint_hook import CheckpointHook
from ovseg.engine.compile_hook import CompileHook
from ovseg.engine.epoch_loop import EpochBasedTrainLoop
from ovseg.engine.file_check import FileCheckHook
from ovseg.engine.finite import FiniteStateHook
from ovseg.engine.frozen_features import FrozenFeatureLoop
from ovseg.engine.label_use import LabelUseHook
from ovseg.engine.logit_scale import LogitScaleHook
from ovseg.engine.overlays import OverlayHook
from ovseg.engine.precision_hook import PrecisionHook
from ovseg.engine.random_state import RandomStateHook
from ovseg.engine.resuming import latest_checkpoint
from ovseg.engine.runner import OVRunner
from ovseg.engine.sample_seeds import SampleSeedHook
from ovseg.engine.small_world_check import SmallWorldHook
from ovseg.engine.stopping import TrainingStopped
from ovseg.engine.suite_loop import SuiteLoop
from ovseg.engine.trainable import TrainableParamsConstructor
from ovseg.engine.tta import OVSegTTA, augmented_pipeline
from ovseg.engine.vocabulary_check import VocabularyCheckHook, check_classes
from ovseg.engine.warmup_cosine import WarmupCosineLR
from ovseg.weight_files import read_checkpoint

__all__ = [
    'CheckpointHook',
    'CompileHook',
    'EpochBasedTrainLoop',
    'FileCheckHook',
    'FiniteStateHook',
    'FrozenFeatureLoop',
    'LabelUseHook',
    'LogitScaleHook',
    'OVRunner',
    'OVSegTTA',
    'OverlayHook',
    'PrecisionHook',
    'RandomStateHook',
    'SampleSeedHook',
    'SmallWorldHook',
    'SuiteLoop',
    'TrainableParamsConstructor',
    'TrainingStopped',
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
