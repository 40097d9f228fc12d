"""What the next methods are built on: a few lines behind an interface run through tools/test.py.

A vision-language model that knows colours, and a classifier of masks by their mean colour.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ovseg.encoders import DenseFeatures
from ovseg.encoders.dense import NO_MARGINS
from ovseg.regions.mask_classifier import MaskFeatures
from ovseg.regions.mask_maps import mask_probabilities
from ovseg.registry import MODELS

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'tools'))
from tool_runs import read_result, run_tool  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
# What the materials of Scenes look like, RGB in [0, 1].
COLOURS = {
    'sky': (0.55, 0.75, 0.95),
    'grass': (0.35, 0.6, 0.25),
    'sand': (0.85, 0.75, 0.5),
    'water': (0.2, 0.45, 0.7),
    'snow': (0.95, 0.95, 0.98),
    'wall': (0.65, 0.35, 0.3),
    'floor': (0.6, 0.45, 0.3),
}


class ColourWords:
    """Sentences are the colour of the material that they name."""

    name, fingerprint, logit_scale = 'colours', 'colours:1', 20.0

    def encode(self, prompts):
        known = [[COLOURS[word] for word in COLOURS if word in prompt] for prompt in prompts]
        return torch.tensor([found[0] if found else (0.9, 0.1, 0.9) for found in known]) - 0.5


class ColourPatches(nn.Module):
    """Patches are their mean colour."""

    embed_dim, stride, has_patch_grid = 3, (8, 8), True

    def pad(self, image):
        return image

    def margins(self, size):
        return NO_MARGINS

    def forward(self, image, outputs=frozenset(), layers=()):
        return DenseFeatures(patch=F.avg_pool2d(image, 8, ceil_mode=True))


@MODELS.register_module()
class ColourModel:
    """Stands behind dense encoder and text encoder; no open_clip is asked."""

    mean, std, name, weights = (0.5, 0.5, 0.5), (1.0, 1.0, 1.0), 'colours', 'none'

    def __init__(self):
        self.model = nn.Identity()

    def dense_encoder(self, settings, mean, std):
        return ColourPatches()

    def text_encoder(self, cache_dir='default'):
        return ColourWords()


@MODELS.register_module()
class ColourOfMasks:
    """Masks are their mean colour."""

    def look(self, view):
        masks = mask_probabilities(view.masks).flatten(1)
        colours = masks @ (view.image.flatten(1).T / 255) / masks.sum(1, keepdim=True)
        return MaskFeatures(colours - 0.5, torch.ones(len(masks), dtype=torch.bool))

    def probabilities(self, features, classifier):
        units = F.normalize(features.embeddings, dim=1)
        return (classifier.logit_scale * units @ classifier.weight.T).softmax(1)


@MODELS.register_module()
class Cells:
    """Regions: a grid of cells."""

    needs_names = False

    def regions(self, image, name=None):
        rows, columns = (np.arange(side) * 6 // side for side in image.shape[:2])
        return rows[:, None] * 6 + columns + 1


def run_on_scenes(model, folder):
    config = folder / 'toy.py'
    config.write_text(
        f"_base_ = ['{ROOT}/configs/_base_/datasets/scenes.py', "
        f"'{ROOT}/configs/_base_/default_runtime.py']\n"
        f'model = {model!r}\n'
        'test_dataloader = dict(dataset=dict(num_scenes=8, keep_original=True))\n'
        "test_evaluator = [dict(type='OVIoUMetric')]\n"
    )
    assert run_tool('test', config, '--work-dir', folder / 'work') == 0
    return read_result(folder / 'work')


WORDS = [
    *('sky', 'grass', 'sand', 'water', 'snow', 'brick wall', 'wooden floor', 'star', 'heart'),
    *('ball', 'donut', 'flower', 'fish', 'mushroom', 'kite', 'leaf', 'target'),
]
COMMON = {
    'clip': {'type': 'ColourModel'},
    'vocabulary': WORDS,
    'text': {'templates': 'single', 'logit_scale': 20.0},
}


def test_another_vision_language_model_is_one_class(tmp_path):
    result = run_on_scenes({'type': 'TrainingFreeSegmentor', **COMMON}, tmp_path)
    assert result['protocol']['weights'] == 'none'
    # Chance gives 2 %: the materials are told apart by colour, the objects are not.
    assert result['metrics']['mIoU'] > 12


def test_another_mask_classifier_is_one_class(tmp_path):
    model = {
        'type': 'MaskSegmentor',
        'proposals': {'type': 'RegionProposals', 'regions': {'type': 'Cells'}},
        'mask_classifier': {'type': 'ColourOfMasks'},
        'ensemble': {'weight': 0.0},
        'data_preprocessor': {
            'type': 'SegDataPreProcessor',
            'mean': [127.5] * 3,
            'std': [127.5] * 3,
            'bgr_to_rgb': True,
        },
        **COMMON,
    }
    result = run_on_scenes(model, tmp_path)
    assert 'ColourOfMasks' in result['protocol']['model']['mask_classifier']
    assert result['metrics']['mIoU'] > 8


def test_a_registered_encoder_is_asked_before_the_tower_is_judged():
    from ovseg.encoders import build_dense_encoder

    @MODELS.register_module(force=True)
    class AnyTowerEncoder(ColourPatches):
        def __init__(self, visual):
            super().__init__()
            self.visual = visual

    tower = nn.Linear(2, 2)  # none of open_clip's
    encoder = build_dense_encoder(tower, type='AnyTowerEncoder')
    assert encoder.visual is tower


def test_seen_and_unseen_classes_have_weights_of_their_own():
    from ovseg.regions.region_scores import EnsembleSettings, fuse

    settings = EnsembleSettings(weight=0.25, unseen_weight=0.75, seen='cat, kitten; wall')
    from ovseg.vocabulary import Vocabulary

    assert settings.knows(Vocabulary.parse('kitten; dog; wall')) == (True, False, True)
    first, second = torch.rand(4, 3), torch.rand(4, 3)
    fused = fuse(first, second, torch.ones(4).bool(), settings, torch.tensor([True, False, True]))
    weight = torch.tensor([0.25, 0.75, 0.25])
    torch.testing.assert_close(fused.scores, first ** (1 - weight) * second**weight)


def test_weights_of_unseen_classes_need_the_words_of_the_training():
    from ovseg.errors import UserError
    from ovseg.regions.region_scores import EnsembleSettings

    with pytest.raises(UserError, match='unseen_weight and ensemble.seen .* go together'):
        EnsembleSettings(unseen_weight=0.8)
