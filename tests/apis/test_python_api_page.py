"""The examples of the Python API page run and print what the page says."""

from __future__ import annotations

import doctest
import importlib
import shutil
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_examples_of_the_python_api_page(tmp_path, monkeypatch):
    (tmp_path / 'demo').mkdir()
    shutil.copy(ROOT / 'demo' / 'scene.png', tmp_path / 'demo')
    monkeypatch.chdir(tmp_path)
    page = str(ROOT / 'docs' / 'python_api.md')
    failed, tried = doctest.testfile(
        page, module_relative=False, optionflags=doctest.IGNORE_EXCEPTION_DETAIL
    )
    assert tried > 20
    assert failed == 0


@pytest.mark.parametrize(
    'module',
    [
        *('apis.tables', 'zoo.lookup', 'images.config_rule', 'images.pipeline', 'images.resize'),
        *('visualization.draw', 'visualization.fonts'),
        *('visualization.legend', 'visualization.lettering'),
    ],
)
def test_examples_of_docstrings(module):
    found = importlib.import_module(f'ovseg.{module}')
    failed, tried = doctest.testmod(found, extraglobs={'np': np})
    assert tried > 0
    assert failed == 0
