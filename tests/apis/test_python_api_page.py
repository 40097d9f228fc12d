"""The examples of the Python API page run and print what the page says."""

from __future__ import annotations

import doctest
import shutil
from pathlib import Path

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
