"""Configs by name, and the data set that one is read for."""

from __future__ import annotations

import os

import pytest
from mmengine.config import Config
from scripts import ROOT, run_python

from ovseg.config_files import ON, ConfigPlace, find_config, place_of_config, read_config
from ovseg.errors import UserError
from ovseg.images import resize_rule_of

TRIDENT = ROOT / 'configs' / 'trident' / 'trident_vit-b16_openai.py'


def resolved(place):
    return ConfigPlace(place.path.resolve(), place.on)


@pytest.mark.parametrize('name', ['_base_/default_runtime.py', 'configs/_base_/default_runtime.py'])
def test_configs_are_found_below_configs(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == ROOT / 'configs' / '_base_' / 'default_runtime.py'


@pytest.mark.parametrize('form', ['trident/{}', '{}.py', '{}', 'configs/trident/{}.py', 'path'])
@pytest.mark.parametrize('on', [None, 'ade20k', 'coco_stuff164k', 'images'])
def test_every_form_of_a_name_may_end_in_a_data_set(form, on):
    stem = TRIDENT.stem if on is None else f'{TRIDENT.stem}_{on}'
    name = str(TRIDENT.with_name(f'{stem}.py')) if form == 'path' else form.format(stem)
    assert resolved(place_of_config(name)) == ConfigPlace(TRIDENT, on)
    assert place_of_config(name).stem == stem


def test_a_config_of_yours_may_end_in_a_data_set_too(tmp_path):
    mine = tmp_path / 'mine.py'
    mine.write_text(f'_base_ = {str(TRIDENT)!r}\n')
    assert place_of_config(tmp_path / 'mine_voc21.py') == ConfigPlace(mine, 'voc21')
    assert read_config(tmp_path / 'mine_voc21.py').test_dataloader.dataset.type == 'VOC21Dataset'
    assert read_config(mine, 'cityscapes').model.sam_columns == 2


ONE_FILE = """
_base_ = ['{parts}/datasets/{{{{$OVSEG_ON:voc21}}}}.py', '{parts}/default_runtime.py']
published = dict(voc21=dict(side=336, threshold=0.1), ade20k=dict(side=448, threshold=0.0))
row, on_choices = published[_base_.on], list(published)
resize = dict(scale=(2048, row['side']), keep_ratio=True)
test_dataloader = dict(dataset=dict(resize=resize))
rejection = dict(kind='class_zero', threshold=row['threshold'])
model = dict(vocabulary=dict(dataset=_base_.on, protocol='sclip', rejection=rejection))
del published, row, rejection
"""


def test_a_method_of_one_file_has_its_table_in_it(tmp_path):
    text = ONE_FILE.format(parts=ROOT / 'configs' / '_base_')
    (tmp_path / 'mine.py').write_text(text)
    first, second = read_config(tmp_path / 'mine.py'), read_config(tmp_path / 'mine_ade20k.py')
    assert (first.on, second.on) == ('voc21', 'ade20k')
    assert resize_rule_of(first).scale == (2048, 336) and resize_rule_of(second).scale == (
        2048,
        448,
    )
    assert second.test_dataloader.dataset.type == 'ADE20K150Dataset'
    with pytest.raises(UserError, match="no settings for 'voc20': it is for voc21, ade20k"):
        read_config(tmp_path / 'mine.py', 'voc20')


def test_near_names_are_suggested():
    with pytest.raises(FileNotFoundError, match="Did you mean 'trident/trident_vit-b16_openai.py'"):
        place_of_config('configs/trident/trident_vit-b16_openai_voc200.py')


def test_the_file_alone_is_on_its_first_data_set_for_any_tool():
    plain = Config.fromfile(TRIDENT)
    assert plain.on == plain.on_choices[0] == 'voc20'
    assert (
        plain.to_dict() == read_config(TRIDENT).to_dict() == read_config(TRIDENT, 'voc20').to_dict()
    )


def test_the_variable_chooses_for_any_tool_and_is_as_before_afterwards(monkeypatch):
    monkeypatch.setenv(ON, 'ade20k')
    assert Config.fromfile(TRIDENT).to_dict() == read_config(TRIDENT, 'ade20k').to_dict()
    assert read_config(TRIDENT, 'voc21').on == 'voc21' and os.environ[ON] == 'ade20k'
    assert read_config(TRIDENT).on == 'ade20k'
    monkeypatch.delenv(ON)
    read_config(TRIDENT, 'voc21')
    with pytest.raises(UserError):
        read_config(TRIDENT, 'scenes')
    assert ON not in os.environ


def test_a_copy_is_complete_without_the_variable(tmp_path):
    config = read_config(TRIDENT, 'ade20k')
    config.dump(tmp_path / 'copy.py')
    assert '{{' not in (tmp_path / 'copy.py').read_text()
    assert Config.fromfile(tmp_path / 'copy.py').to_dict() == config.to_dict()
    assert read_config(tmp_path / 'copy.py', 'ade20k').on == 'ade20k'
    with pytest.raises(UserError, match='copy.py is for ade20k alone, so there is no --on voc20'):
        read_config(tmp_path / 'copy.py', 'voc20')


@pytest.mark.parametrize(
    'name, on, message',
    [
        (
            'trident_vit-b16_openai',
            'scenes',
            "no settings for 'scenes': it is for voc20, con",
        ),
        ('trident_vit-b16_openai', 'ade20', r"no settings for 'ade20'.*Did you mean 'ade20k'"),
        ('naclip_vit-b16_openai', 'ade847', "no settings for 'ade847': it is for voc20"),
        ('maskclip_tiny', 'voc20', "no settings for 'voc20': it is for scenes"),
        ('denseclip_fpn_r50_512x512_80k_ade20k', 'voc20', 'is for ade20k alone'),
        ('clip_scenes', 'voc20', 'names no data set, so there is no --on voc20'),
        ('maskclip_tiny_scenes', 'images', 'is maskclip_tiny.py on scenes, but --on says images'),
    ],
)
def test_a_data_set_without_settings_is_one_sentence_that_lists_those_with(name, on, message):
    with pytest.raises(UserError, match=message) as raised:
        read_config(name, on)
    assert '\n' not in str(raised.value)


def test_a_variable_that_a_config_cannot_follow_is_named(monkeypatch):
    monkeypatch.setenv(ON, 'ade20k')
    with pytest.raises(UserError, match="no settings for 'ade20k': .*the variable OVSEG_ON"):
        read_config('maskclip_tiny')
    assert read_config('clip_scenes').model.type == 'CLIPContrast'  # has no data sets to choose


def test_a_base_of_before_is_answered_by_what_to_write(tmp_path):
    old = TRIDENT.with_name(f'{TRIDENT.stem}_voc21.py')
    (tmp_path / 'mine.py').write_text(f'_base_ = {str(old)!r}\n')
    message = f"write _base_ = '{TRIDENT}', and use it with --on voc21"
    with pytest.raises(UserError, match=message):
        read_config(tmp_path / 'mine.py')


def test_faults_of_a_config_of_yours_are_told_as_they_are(tmp_path):
    (tmp_path / 'mine.py').write_text('model = dict(\n')
    with pytest.raises(UserError, match='mine.py is not valid Python'):
        read_config(tmp_path / 'mine.py')
    (tmp_path / 'mine.py').write_text(f'_base_ = {str(TRIDENT)!r}\nmodel = _base_.nothing\n')
    with pytest.raises((AttributeError, KeyError), match='nothing'):
        read_config(tmp_path / 'mine.py', 'ade20k')


def test_choosing_prints_nothing():
    done = run_python(
        "from ovseg.config_files import read_config\nread_config('trident_tiny', 'images')\n"
    )
    assert (done.returncode, done.stdout) == (0, ''), done.stderr
    assert 'OVSEG_ON' not in done.stderr


@pytest.mark.parametrize(
    ('name', 'content'),
    [
        ('a.py', b'model = dict('),
        ('a.py', b'x = "\xff"'),
        ('a.py', b'x = 1\0'),
        ('a.py', b'x = ' + b'(' * 5000),
        ('a.json', b'{"model": '),
        ('a.json', b'[' * 100_000),
        ('a.json', b'\xff\xfe{'),
        ('a.json', b'[1]'),
        ('a.yaml', b'a: [1, 2'),
        ('a.yaml', b'a: \xff'),
        ('a.yaml', b'\x00'),
        ('a.toml', b'a = 1'),
        ('a.py', b"_base_ = 'gone.py'"),
    ],
)
def test_a_config_that_cannot_be_read_is_one_sentence(name, content, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises((UserError, FileNotFoundError)) as raised:
        read_config(path)
    sentence = str(raised.value)
    assert '\n' not in sentence and len(sentence) < 700 and str(tmp_path) in sentence
