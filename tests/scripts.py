"""Importing the scripts of tools/ and demo/ as modules, for tests that call their main()."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from conftest import ROOT


def load_script(name: str, folder: str = 'tools') -> ModuleType:
    """The script ``folder/name.py`` as a module."""
    spec = importlib.util.spec_from_file_location(f'{folder}_{name}', ROOT / folder / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
