"""The configs of CLIP's adaptation have the published settings and train a tiny CLIP."""

import pytest
from scripts import ROOT

from ovseg.config_files import read_config

FOLDER = ROOT / 'configs/ovseg'
PUBLISHED = {
    'clip_ft_vit-l14_openai_4xb32_5e_coco': ('ViT-L-14-quickgelu', 'image_tower', 32, 5e-6, 0.2),
    'clip_ft_vit-b16_openai_4xb128_5e_coco': ('ViT-B-16-quickgelu', 'image_tower', 128, 5e-6, 0.2),
    'clip_mpt_vit-l14_openai_4xb32_5e_coco': ('ViT-L-14-quickgelu', 'mask_prompts', 32, 0.05, 0.0),
    'clip_mpt_vit-b16_openai_4xb32_5e_coco': ('ViT-B-16-quickgelu', 'mask_prompts', 32, 0.05, 0.0),
}


@pytest.mark.parametrize('stem', PUBLISHED)
def test_the_settings_are_the_published_ones(stem):
    config = read_config(FOLDER / f'{stem}.py')
    clip, train, batch, rate, decay = PUBLISHED[stem]
    optimizer = config.optim_wrapper.optimizer
    assert config.model.clip == dict(model=clip, pretrained='openai')
    assert config.model.train == train
    assert (config.train_dataloader.batch_size, optimizer.lr) == (batch, rate)
    assert (optimizer.betas, optimizer.eps, optimizer.weight_decay) == ((0.9, 0.98), 1e-6, decay)
    data = config.train_dataloader.dataset.dataset
    assert (data.size, data.scale) == (224, (0.9, 1.0))
    assert data.mask_from == ('file' if train == 'mask_prompts' else 'none')
    (schedule,) = config.param_scheduler
    assert (schedule.warmup, schedule.end, config.train_cfg.max_epochs) == (100, 5, 5)
    if train == 'mask_prompts':
        assert config.model.prompt_depth == 3 and config.model.fine_tuned is None


@pytest.mark.parametrize('path', sorted(FOLDER.glob('clip_*.py')), ids=lambda path: path.stem)
def test_rounds_are_seeded_whole_batches_with_a_bounded_temperature(path):
    config = read_config(path)
    hooks = {hook.type for hook in config.custom_hooks}
    assert hooks == {'RandomStateHook', 'SampleSeedHook', 'LogitScaleHook'}
    assert config.train_dataloader.drop_last and not config.train_dataloader.persistent_workers
    assert config.train_dataloader.dataset.type == 'SeededSamplesDataset'
    assert config.default_hooks.checkpoint.by_epoch


def test_the_tiny_configs_are_for_the_tiny_clip():
    for name, train in (('ft', 'image_tower'), ('mpt', 'mask_prompts')):
        config = read_config(FOLDER / f'clip_{name}_tiny_5e_scenes.py')
        assert config.model.clip == dict(model='tiny_clip_scenes', pretrained='embedded')
        assert config.model.train == train
        assert config.train_dataloader.dataset.dataset.size == 32
