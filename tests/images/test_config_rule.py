"""Which resize rule a config has, old keys included."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from ovseg.errors import UserError
from ovseg.images import follow_overrides, give_resize_rule, resize_rule_of

RULE = {'scale': (520, 260), 'keep_ratio': True}
LOAD, PACK = {'type': 'LoadImageFromFile'}, {'type': 'PackSegInputs'}
IN_PIPELINE = [LOAD, {'type': 'Resize', **RULE}, PACK]


def tested(**dataset):
    return {'test_dataloader': {'dataset': {'pipeline': [LOAD, PACK], **dataset}}}


@pytest.mark.parametrize(
    'keys',
    [
        {'resize': RULE},
        {'inference': RULE},
        tested(resize=RULE),
        tested(pipeline=IN_PIPELINE),
        {'test_pipeline': IN_PIPELINE},
        {'resize': RULE, **tested(resize={'type': 'Resize', 'scale': [520, 260]})},
        {'test_dataloader': {'dataset': {'datasets': [{'resize': RULE}, {'resize': RULE}]}}},
        {'test_dataloader': {'dataset': {'type': 'RepeatDataset', 'dataset': {'resize': RULE}}}},
    ],
)
def test_the_rule_is_read_wherever_a_config_has_it(keys):
    assert resize_rule_of(Config(keys)).scale == (520, 260)


def test_a_config_without_a_rule_keeps_sizes():
    assert resize_rule_of(Config(tested())).scale is None
    assert resize_rule_of(Config({'resize': None})).scale is None


@pytest.mark.parametrize(
    'keys, first, second',
    [
        ({'resize': RULE, 'inference': {'scale': (520, 261)}}, 'resize', 'inference'),
        ({'inference': RULE, **tested(resize={**RULE, 'keep_ratio': False})}, 'inference', 'test'),
        ({'resize': None, **tested(resize=RULE)}, 'resize = None', 'test_dataloader'),
        (
            {'resize': RULE, **tested(resize={**RULE, 'type': 'AntialiasedResize'})},
            r'dict\(scale=\(520, 260\)\)',
            'antialias=True',
        ),
        (
            {
                'test_dataloader': {
                    'dataset': {'datasets': [{'resize': RULE}, {'resize': {'scale': (9, 9)}}]}
                }
            },
            'dataset.resize',
            r'\(9, 9\)',
        ),
    ],
)
def test_two_rules_that_differ_are_one_sentence(keys, first, second):
    with pytest.raises(UserError, match=f'two resize rules, .*{first}.*{second}') as raised:
        resize_rule_of(Config(keys))
    assert 'write the rule as resize = ' in str(raised.value) and '\n' not in str(raised.value)


@pytest.mark.parametrize('name', ['resize', 'inference'])
def test_a_test_data_set_without_a_rule_is_given_that_of_the_config(name):
    config = Config({name: RULE, **tested(resize=None)})
    give_resize_rule(config)
    steps = config.test_dataloader.dataset.pipeline
    assert [step.type for step in steps] == ['LoadImageFromFile', 'ResizeByRule', 'PackSegInputs']
    assert steps[1].scale == (520, 260)
    give_resize_rule(config)
    assert len(config.test_dataloader.dataset.pipeline) == 3


def test_a_data_set_with_a_rule_keeps_it_and_any_resize_of_its_own():
    for keys in (
        {'resize': RULE, **tested(resize=RULE)},
        {'resize': RULE, **tested(pipeline=IN_PIPELINE)},
        tested(pipeline=[LOAD, {'type': 'Resize', 'scale_factor': 2.0}, PACK]),
        {'resize': RULE},
    ):
        config = Config(keys)
        give_resize_rule(config)
        assert config.to_dict() == Config(keys).to_dict()


@pytest.mark.parametrize(
    'changed', [('resize.scale',), ('test_dataloader.dataset.resize.scale',), ('resize',)]
)
def test_a_rule_changed_from_outside_is_changed_everywhere(changed):
    config = Config({'resize': RULE, **tested(resize=RULE)})
    config.merge_from_dict({f'{changed[0].removesuffix(".scale")}.scale': (300, 200)})
    follow_overrides(config, changed)
    assert resize_rule_of(config).scale == (300, 200)
    assert config.test_dataloader.dataset.resize.scale == (300, 200)


def test_a_test_data_set_without_a_pipeline_is_told():
    dataset = dict(type='LabelledFolderDataset', data_root='d')
    config = Config(dict(resize=RULE, test_dataloader=dict(dataset=dataset)))
    with pytest.raises(UserError, match='LabelledFolderDataset .* has no pipeline'):
        give_resize_rule(config)
