from __future__ import annotations

import pytest
from mmengine.config import Config

from ovseg.config_files import place_of_config, read_config
from ovseg.engine.options import apply_options
from ovseg.errors import UserError
from ovseg.option_values import Options


def applied(config, **words):
    options = Options()
    for key, text in words.items():
        options.add(key.replace('__', '.'), text)
    apply_options(config, options)
    return config


def of_scenes():
    place = place_of_config('maskclip_tiny')
    return read_config(place.path, 'scenes')


def of_training():
    return read_config(place_of_config('denseclip_fpn_tiny_my_data').path)


@pytest.mark.parametrize(
    'build, key, text, message',
    [
        (of_scenes, 'test_dataloader.dataset.num_scene', '5', "ScenesDataset .*mean 'num_scenes'"),
        (of_scenes, 'test_dataloader.num_worker', '5', "DataLoader .*mean 'num_workers'"),
        (of_scenes, 'test_dataloader.dataset.pipeline.0.typ', 'a', "LoadScene .*mean 'type'"),
        (of_scenes, 'test_dataloader.dataset.pipeline.type', 'a', 'pipeline is a list: name a pos'),
        (of_scenes, 'test_evaluator.group', 'a', "OVIoUMetric and BoundaryIoU.*mean 'groups'"),
        (of_scenes, 'model.test_cfg.strid', '2', "a setting 'strid'.*mean 'stride'"),
        (of_scenes, 'model.text.templats', 'a', "model.text a setting .*mean 'templates'"),
        (of_scenes, 'model.clip.modl', 'a', "model.clip a setting 'modl'.*mean 'model'"),
        (of_scenes, 'env_cfg.mp_cfg.mp_start', 'a', "mean 'mp_start_method'"),
        (of_scenes, 'default_hooks.check_point.interval', '3', "mean 'checkpoint'"),
        (of_scenes, 'train_cfg.max_iter', '3', "mean 'max_iters'"),
        (of_scenes, 'words', '[a,b]', 'comes too late: set model.vocabulary instead'),
        (of_training, 'train_cfg.max_iter', '3', "IterBasedTrainLoop .*mean 'max_iters'"),
        (of_training, 'max_iters', '40', 'comes too late: set train_cfg.max_iters instead'),
        (of_training, 'crop_size', '(64,64)', 'set train_dataloader.dataset.pipeline.3.crop_size'),
        (of_training, 'optim_wrapper.optimizer.lrr', '1', "AdamW .*mean 'lr'"),
        (of_training, 'optim_wrapper.paramwise_cfg.custom_key', 'a', "mean 'custom_keys'"),
        (of_training, 'param_scheduler.0.endd', '3', "LinearLR .*mean 'end'"),
        (of_training, 'train_dataloader.dataset.metainfo.clases', '[a]', "mean 'classes'"),
    ],
)
def test_keys_that_nothing_reads_are_answered_with_the_nearest(build, key, text, message):
    with pytest.raises(UserError, match=message):
        applied(build(), **{key: text})


@pytest.mark.parametrize(
    'key, text, message',
    [
        ('model.text.logit_scale', 'abc', "model.text.logit_scale is 'abc', but takes float"),
        ('model.test_cfg.window_batch', 'many', 'takes int'),
        ('test_dataloader.batch_size', 'x', 'takes int'),
        ('default_hooks.checkpoint.interval', 'often', 'takes int'),
        ('resume', 'yes', 'takes bool'),
    ],
)
def test_values_of_another_kind_are_told_with_their_place(key, text, message):
    with pytest.raises(UserError, match=message):
        applied(of_scenes(), **{key: text})


def test_numbers_stay_numbers_where_nothing_says_what_is_taken():
    with pytest.raises(
        UserError, match=r'model.sigma is .a lot., but the config has a number \(1.0'
    ):
        applied(Config({'model': {'type': 'NobodyKnowsIt', 'sigma': 1.0}}), model__sigma='a lot')
    with pytest.raises(UserError, match='lr is .abc., but'):
        applied(of_training(), optim_wrapper__optimizer__lr='abc')


def test_new_settings_that_the_class_takes_work():
    config = applied(
        of_scenes(),
        model__test_cfg__mode='slide',
        model__text__templates='a photo of a {}, seen from far',
        model__vocabulary='wooden floor',
        test_dataloader__dataset__seed='7',
        test_dataloader__drop_last='true',
        load_from='007.pth',
        visualizer__name='my board',
    )
    assert config.model.test_cfg.mode == 'slide'
    assert config.model.text.templates == 'a photo of a {}, seen from far'
    assert config.model.vocabulary == 'wooden floor'
    assert config.test_dataloader.dataset.seed == 7 and config.test_dataloader.drop_last is True
    assert (config.load_from, config.visualizer.name) == ('007.pth', 'my board')
    trained = applied(of_training(), optim_wrapper__paramwise_cfg__custom_keys__x__lr_mult='2')
    assert trained.optim_wrapper.paramwise_cfg.custom_keys.x.lr_mult == 2


def test_evaluators_in_a_list_take_what_they_have():
    config = applied(
        of_scenes(),
        test_evaluator__groups__things='[star,heart]',
        test_evaluator__confusion_file='my, matrix.npy',
        test_evaluator__ignore_index='254',
        test_evaluator__dilation='0.1',
    )
    first, second = config.test_evaluator
    assert (
        first.groups == {'things': ['star', 'heart']} and first.confusion_file == 'my, matrix.npy'
    )
    assert (first.ignore_index, second.ignore_index, second.dilation) == (254, 254, 0.1)


def test_a_new_type_decides_what_is_taken():
    config = of_training()
    changes = {'optim_wrapper.optimizer.type': 'SGD', 'optim_wrapper.optimizer.momentum': '0.9'}
    assert applied(config, **changes).optim_wrapper.optimizer.momentum == 0.9


def test_a_place_of_an_outer_key_is_told():
    with pytest.raises(UserError, match="no 'interval'. Did you mean 'default_hooks.*interval'"):
        applied(of_scenes(), interval='3')
