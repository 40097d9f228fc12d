"""The tiny ConvNeXt CLIP learns the tiny CLIP's words, and from its patches."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from scripts import ROOT
from short_trainings import train

from ovseg.encoders.tiny import build_tiny_clip
from ovseg.errors import UserError
from ovseg.scenes import TaughtContrast

CONFIG = ROOT / 'configs/tiny_clip/convnext_scenes.py'


def settings(**changes):
    model = Config.fromfile(CONFIG).model.to_dict()
    del model['type']
    return {**model, **changes}


def test_the_tiny_convnext_learns_pictures_and_no_words(tmp_path):
    config = Config.fromfile(CONFIG)
    config.work_dir = str(tmp_path)
    config.train_dataloader.update(batch_size=12, num_workers=0, persistent_workers=False)
    config.train_cfg.max_iters = 8
    config.param_scheduler = []
    config.default_hooks.logger.interval = 1
    config.log_level = 'ERROR'
    with DefaultScope.overwrite_default_scope('ovseg'):
        runner = train(config, 'convnext')
    model, tiny = runner.model, build_tiny_clip()[0]
    own, theirs = model.clip.state_dict(), tiny.state_dict()
    text = [key for key in own if not key.startswith('visual.') and key != 'logit_scale']
    assert 'text_projection' in text
    for key in text:
        rows = theirs[key][model.token_ids] if key == 'token_embedding.weight' else theirs[key]
        assert torch.equal(own[key], rows), key
    assert 0 < (own['logit_scale'] - theirs['logit_scale']).abs() < 0.1
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    assert {name.split('.')[1] for name in trained} == {'visual', 'logit_scale'}
    assert not any('teacher' in name for name in model.state_dict())
    patches, _ = runner.message_hub.get_scalar('train/loss_patches').data
    assert patches[-1] < patches[0] - 0.5


def test_a_picture_is_embedded_as_open_clip_does():
    torch.manual_seed(0)
    model = TaughtContrast(**settings()).eval()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    losses = model(images, ['a red star', 'snow'], [0, 1])
    plain = super(TaughtContrast, model).forward(images, ['a red star', 'snow'], [0, 1])
    torch.testing.assert_close(losses['loss'], plain['loss'])
    assert 0 < losses['loss_patches'] < 2 * model.patch_weight


def test_pictures_with_other_places_than_the_teachers_are_refused():
    model = TaughtContrast(**settings())
    images = torch.zeros(1, 3, 96, 96, dtype=torch.uint8)
    with pytest.raises(UserError, match='6 x 6 places .* 4 x 4 patches .* pictures of 64 pixels'):
        model(images, ['snow'], [0])
