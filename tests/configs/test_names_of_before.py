"""Every name that a config had when each data set had a file still means the same settings."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from mmengine.config import Config
from scripts import ROOT

from ovseg.config_files import read_config
from ovseg.images import resize_rule_of

# Digests of the lines below, made from the 422 files of before; files with the same settings stand
# together. Only the resize rules of the tiny models have changed: not for the pictures of Scenes.
TABLE = json.loads((ROOT / 'tests/data/configs/names_of_before.json').read_text(encoding='utf-8'))
FILES = {file: group['settings'] for group in TABLE for file in group['files']}


def key_settings(config: Config) -> str:
    """What decides a number, in a line."""
    model = config.model
    frozen = model.get('teacher') or model
    clip = frozen.get('clip') or {}
    tested = (config.get('test_dataloader') or {}).get('dataset') or {}
    trained = (config.get('train_dataloader') or {}).get('dataset') or {}
    inference = model.get('test_cfg') or {}
    metrics = config.get('test_evaluator') or []
    parts = {
        'model': model.type,
        'attention': (frozen.get('encoder') or {}).get('last_block'),
        'tested': tested.get('type'),
        'list': tested.get('ann_file'),
        'trained': trained.get('type'),
        'steps': (config.get('train_cfg') or {}).get('max_iters'),
        'crop': [step.crop_size for step in trained.get('pipeline', ()) if 'crop_size' in step],
        'metrics': [
            metric.get('headline', metric['type'])
            for metric in (metrics if isinstance(metrics, list) else [metrics])
        ],
        'words': model.get('vocabulary'),
        'mode': inference.get('mode'),
        'window': inference.get('crop_size'),
        'stride': inference.get('stride'),
        'scale': (model.get('text') or {}).get('logit_scale'),
        'templates': (frozen.get('text') or {}).get('templates'),
        'refiners': [refiner.type for refiner in model.get('refiners') or ()],
        'refinement': (model.get('refinement') or {}).get('coarse_threshold'),
        'correlation': model.get('correlation'),
        'columns': model.get('sam_columns'),
        'regions': (model.get('regions') or {}).get('folder') or model.get('regions'),
        'ensemble': model.get('ensemble'),
        'hidden': trained.get('suppress_labels'),
        'original': tested.get('keep_original'),
        'clip': clip.get('pretrained') == 'embedded' or None,
    }
    return '; '.join(
        f'{key} {_text(part)}' for key, part in parts.items() if part not in (None, [])
    )


def _text(part: Any) -> str:
    if isinstance(part, dict):
        return ' '.join(f'{key}={_text(value)}' for key, value in sorted(part.items()))
    if isinstance(part, (list, tuple)):
        few = [_text(value) for value in part]
        return ','.join(few) if len(few) < 9 else f'{len(few)} from {few[0]} to {few[-1]}'
    return str(part)


def line_of(name: str) -> str:
    """The resize rule and the other key settings of a config's name."""
    config = read_config(f'{name}.py')
    rule = resize_rule_of(config)
    shown = 'x'.join(map(str, rule.scale)) + '~' * rule.antialias if rule.scale else '-'
    return f'{shown}; {key_settings(config)}'


@pytest.mark.parametrize('file', FILES)
def test_a_name_of_before_means_what_it_meant(file):
    lines = {on: line_of(f'{file}_{on}' if on else file) for on in FILES[file]}
    found = {on: sha256(line.encode()).hexdigest()[:8] for on, line in lines.items()}
    wrong = {on: lines[on] for on in lines if found[on] != FILES[file][on]}
    assert not wrong


def test_there_are_as_many_names_as_there_were_files():
    assert sum(map(len, FILES.values())) == 422
