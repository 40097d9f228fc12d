"""The examples in docstrings print what they say: every module that has any."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
import torch
from scripts import ROOT

MODULES = [
    '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')
    for path in sorted((ROOT / 'ovseg').rglob('*.py'))
    if '>>> ' in path.read_text(encoding='utf-8')
]


@pytest.mark.parametrize('name', MODULES)
def test_examples_print_what_they_say(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    torch.manual_seed(0)
    failed, tried = doctest.testmod(module, extraglobs={'np': np, 'torch': torch})
    assert tried > 0
    assert failed == 0


def test_examples_are_found():
    assert len(MODULES) >= 40
