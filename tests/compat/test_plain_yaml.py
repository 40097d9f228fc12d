from __future__ import annotations

import pytest
import yaml
from mmengine.config import Config

from ovseg.config_files import read_config
from ovseg.errors import UserError


@pytest.mark.parametrize(
    'tag', ['object/apply:os.mkdir ["{}"]', 'object/new:os.mkdir ["{}"]', 'name:os.system ""']
)
def test_a_config_in_yaml_runs_nothing(tag, tmp_path):
    harm = tmp_path / 'harm'
    path = tmp_path / 'config.yml'
    path.write_text(f'a: 1\nb: !!python/{tag.format(harm)}\n')
    with pytest.raises(UserError, match='line 2 .*would run code'):
        read_config(path)
    assert not harm.exists()
    if 'apply' in tag:
        yaml.load(path.read_text(), yaml.UnsafeLoader)
        assert harm.exists(), 'the file would not have done anything anyway'


def test_what_mmengine_dumps_is_read(tmp_path):
    content = dict(model=dict(type='X', sizes=(1, 2), rate=1.5, words=['a', None, True]))
    Config(content).dump(tmp_path / 'config.yaml')
    assert Config.fromfile(tmp_path / 'config.yaml').model == content['model']
