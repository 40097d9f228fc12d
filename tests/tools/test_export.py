"""One tool for everything that a training made: its kinds, and what is said where one is wrong."""

from __future__ import annotations

import pytest
from tool_runs import run_tool

from ovseg.cli.export import KINDS


def test_help_lists_every_kind_with_what_it_writes(capsys):
    with pytest.raises(SystemExit) as left:
        run_tool('export', '--help')
    assert left.value.code == 0
    printed = ' '.join(capsys.readouterr().out.split())
    for name, kind in KINDS.items():
        first = kind.export.__doc__.splitlines()[0]
        assert f'{name} {first}' in printed


@pytest.mark.parametrize('name', KINDS)
def test_a_kind_explains_itself_and_names_its_words(name, capsys):
    with pytest.raises(SystemExit) as left:
        run_tool('export', name, '--help')
    assert left.value.code == 0
    printed = capsys.readouterr().out
    given = ' '.join([*KINDS[name].takes, 'out']).upper()
    given = f'CONFIG {given}' if KINDS[name].config is True else given
    assert given in ' '.join(printed.split())
    assert all(option in printed for option in KINDS[name].options)


@pytest.mark.parametrize('name', [name for name, kind in KINDS.items() if kind.config])
def test_a_config_of_another_model_is_refused_before_anything_is_read(name, tmp_path, capsys):
    config = 'maskclip/maskclip_tiny_scenes.py'
    (tmp_path / 'empty.pth').touch()
    words = [tmp_path / 'empty.pth', tmp_path / 'out.pth']
    words = [config, *words] if KINDS[name].config is True else [*words, '--config', config]
    words += ['--images', 8] if name in ('tiny-sam', 'tiny-sam3') else []
    assert run_tool('export', name, *words) == 2
    assert f'error: {config} is no config of a ' in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['empty.pth']


def test_a_missing_kind_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as left:
        run_tool('export', 'tiny-cilp', 'a.pth', 'b')
    assert left.value.code == 2
    assert "'tiny-clip'" in capsys.readouterr().err
