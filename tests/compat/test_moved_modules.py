"""Modules answer to the names that they had before."""

import importlib
import subprocess
import sys

import pytest

from ovseg.compat.moved_modules import MOVED


@pytest.mark.parametrize('old', sorted(MOVED))
def test_old_name_gives_the_module_of_the_new_one(old):
    with pytest.warns(DeprecationWarning, match=f'ovseg.{old} is now ovseg.{MOVED[old]}'):
        sys.modules.pop(f'ovseg.{old}', None)
        module = importlib.import_module(f'ovseg.{old}')
    assert module is importlib.import_module(f'ovseg.{MOVED[old]}')
    assert module.__spec__.name == f'ovseg.{MOVED[old]}'


def test_names_of_a_renamed_package_can_be_taken_from_its_old_name():
    code = 'from ovseg.backbones import load_clip; from ovseg.encoders import load_clip as new; '
    subprocess.run([sys.executable, '-c', code + 'assert load_clip is new'], check=True)
