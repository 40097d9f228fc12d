"""The command ``ovseg``: its table, wrong words, and that it and the scripts are the same."""

from __future__ import annotations

import re

import pytest
from PIL import Image
from scripts import ROOT, load_script

from ovseg import __version__
from ovseg.cli.command import COMMANDS, build_parser, main
from ovseg.errors import run_cli

# The script of a checkout that is a sub-command, and words that it refuses with a sentence.
SCRIPTS = {
    'segment': ('demo', 'image_demo', ['nowhere.png', 'sky']),
    'test': ('tools', 'test', ['maskclip_tny']),
    'train': ('tools', 'train', ['denseclip_fpn_tny_scenes']),
    'prepare': ('tools', 'prepare_data', ['ade20k', 'nowhere']),
    'export': ('tools', 'export', ['denseclip', 'denseclip_tny', 'a.pth', 'b.pth']),
    'benchmark': ('tools', 'benchmark', ['maskclip-tiny', '--classes', '0']),
}
PAGE = (ROOT / 'docs' / 'command_line.md').read_text(encoding='utf-8')


def test_the_page_and_the_help_list_every_command():
    assert re.findall(r'^\| `ovseg (\w+)` \|', PAGE, re.MULTILINE) == [
        command.name for command in COMMANDS
    ]
    printed = build_parser().format_help()
    assert all(f'  {command.name} ' in printed for command in COMMANDS)


@pytest.mark.parametrize('command', COMMANDS, ids=lambda command: command.name)
def test_help_has_examples_with_the_name_of_the_command(command, capsys):
    with pytest.raises(SystemExit) as left:
        main([command.name, '--help'])
    printed = capsys.readouterr().out
    assert left.value.code == 0
    assert printed.startswith(f'usage: ovseg {command.name} ')
    examples = printed.split('Examples::')[1]
    assert f'\n    ovseg {command.name}' in examples and '%(' not in printed


def test_a_word_that_is_no_command_is_told_the_nearest_one(capsys):
    assert main(['segmnt', 'photo.jpg']) == 2
    said = capsys.readouterr().err
    assert "no command 'segmnt'" in said and said.endswith("Did you mean 'segment'?\n")


def test_an_image_without_a_command_is_told_the_command(tmp_path, capsys):
    image = tmp_path / 'photo.jpg'
    image.touch()
    assert main([str(image), 'cat']) == 2
    assert f'ovseg segment {image} "cat; sofa"' in capsys.readouterr().err


def test_no_words_at_all_show_the_help_and_are_an_error(capsys):
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith('usage: ovseg COMMAND ...')


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as left:
        main(['--version'])
    assert left.value.code == 0
    assert capsys.readouterr().out == f'ovseg {__version__}\n'


@pytest.mark.parametrize('name', SCRIPTS)
def test_a_script_and_its_command_answer_alike(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder, script, words = SCRIPTS[name]
    assert main([name, *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith('error: ') and said.count('\n') == 1
    assert run_cli(lambda: load_script(script, folder).main(words)) == 2
    assert capsys.readouterr().err == said


def test_help_of_a_script_names_the_script(capsys):
    with pytest.raises(SystemExit):
        load_script('test').main(['--help'])
    assert capsys.readouterr().out.startswith('usage: python tools/test.py ')


def test_quiet_prints_no_scores_but_writes_them(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    less = ['--cfg-options', 'test_dataloader.dataset.num_scenes=1']
    assert main(['test', 'maskclip-tiny', '--on', 'scenes', '--work-dir', 'w', '-q', *less]) == 0
    assert not capfd.readouterr().out
    assert len(list((tmp_path / 'w').rglob('result.json'))) == 1


def test_quiet_keeps_the_warnings_of_the_log(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'images').mkdir()
    (tmp_path / 'labels').mkdir()
    Image.new('RGB', (32, 32)).save('images/a.png')
    Image.new('L', (32, 32)).save('labels/a.png')
    (tmp_path / 'own.py').write_text(
        f'_base_ = {str(ROOT / "configs/maskclip/maskclip_tiny.py")!r}\n'
        "model = dict(vocabulary=['sky', 'grass'])\n"
        "test_dataloader = dict(dataset=dict(_delete_=True, type='LabelledFolderDataset',\n"
        "    data_root='.', data_prefix=dict(img_path='images', seg_map_path='labels'),\n"
        "    metainfo=dict(classes=('sky', 'grass')), pipeline=[dict(type='LoadImageFromFile'),\n"
        "    dict(type='LoadAnnotations'), dict(type='PackSegInputs')]))\n"
    )
    assert main(['test', 'own.py', '--work-dir', 'w', '--quiet']) == 0
    out, err = capfd.readouterr()
    assert not out and "'grass' has no pixel" in err
