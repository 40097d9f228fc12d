"""The small world that ships with ovseg: its data sets, and how its tiny models are trained."""

from ovseg.scenes.clip_contrast import CLIPContrast
from ovseg.scenes.concept_training import ConceptTraining
from ovseg.scenes.crops import SceneCropsDataset
from ovseg.scenes.datasets import (
    LoadScene,
    LoadSceneLabels,
    ScenesDataset,
    ScenesFolderDataset,
    ScenesHeldoutDataset,
    ScenesPhrasesDataset,
)
from ovseg.scenes.found import FoundTraining
from ovseg.scenes.masks import SceneMasksDataset
from ovseg.scenes.panoptic import LoadPanopticScene, ScenesPanopticDataset
from ovseg.scenes.phrases import ScenePhrasesMasksDataset
from ovseg.scenes.pictures import ScenePicturesDataset
from ovseg.scenes.promptable_masks import PromptableMasks
from ovseg.scenes.self_distillation import SelfDistillation
from ovseg.scenes.taught_contrast import TaughtContrast
from ovseg.scenes.views import SceneCaptionsDataset

__all__ = [
    'CLIPContrast',
    'ConceptTraining',
    'FoundTraining',
    'LoadPanopticScene',
    'LoadScene',
    'LoadSceneLabels',
    'PromptableMasks',
    'SceneCaptionsDataset',
    'SceneCropsDataset',
    'SceneMasksDataset',
    'ScenePhrasesMasksDataset',
    'ScenePicturesDataset',
    'ScenesDataset',
    'ScenesFolderDataset',
    'ScenesHeldoutDataset',
    'ScenesPanopticDataset',
    'ScenesPhrasesDataset',
    'SelfDistillation',
    'TaughtContrast',
]
