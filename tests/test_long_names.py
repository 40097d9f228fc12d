"""Names that no disk takes are answered in a sentence by whoever asks what lies there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import ovseg
from ovseg.config_files import read_config
from ovseg.errors import UserError
from ovseg.files import check_folder
from ovseg.images.finding import find_images
from ovseg.line_lists import read_lines
from ovseg.regions import RegionFolder
from ovseg.vocabulary import Vocabulary
from ovseg.vocabulary.templates import get_templates
from ovseg.weight_files import find_weights

ROOT = Path(ovseg.__file__).parents[1]
DOORS = {
    'templates': lambda name: get_templates(f'{name}.txt'),
    'words': lambda name: Vocabulary.parse(f'{name}.txt'),
    'words in JSON': lambda name: Vocabulary.parse(f'{name}.json'),
    'list': lambda name: read_lines(name, 'classes'),
    'config': lambda name: read_config(f'{name}.py'),
    'images': lambda name: find_images(f'{name}.png'),
    'weights': lambda name: find_weights(f'{name}.pth'),
    'region maps': RegionFolder,
    'folder of results': check_folder,
}
NAMES = {
    'long': 'x' * 300,
    'long above': 'x' * 300 + '/y',
    'letters of two bytes': 'é' * 140,
    'of nobody': '~nobody-of-this-name/x' + 'y' * 300,
}
ASKING = ('is_file', 'is_dir', 'exists', 'expanduser')


@pytest.mark.parametrize('name', NAMES.values(), ids=NAMES)
@pytest.mark.parametrize('door', DOORS)
def test_a_name_that_no_disk_takes_is_one_sentence(door, name):
    with pytest.raises((UserError, FileNotFoundError)) as caught:
        DOORS[door](name)
    assert type(caught.value) is not OSError and '\n' not in str(caught.value)
    assert '[Errno' not in str(caught.value)


def test_a_sentence_with_a_suffix_is_no_file_however_long():
    assert Vocabulary.parse('a cat. ' * 60 + 'and a dog.md').names


@pytest.mark.parametrize('folder', ['ovseg', 'tools', 'demo'])
def test_files_are_asked_for_by_os_path_which_answers_for_every_name(folder):
    """Those of ``Path`` raise for names that are too long, or in folders that may not be read.

    Entries of a folder that is read are asked without following links, so they need no answer.
    """
    for path in sorted((ROOT / folder).rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            asked = ast.unparse(node.func)
            follows = not any(word.arg == 'follow_symlinks' for word in node.keywords)
            if node.func.attr in ASKING and follows and not asked.startswith('os.path.'):
                raise AssertionError(f'{path}, line {node.lineno}: {asked}, use os.path')
