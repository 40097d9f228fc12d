"""The examples in the documentation and in docstrings print what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_examples_of_the_guide_to_words():
    result = doctest.testfile(
        str(ROOT / 'docs' / 'vocabularies.md'),
        module_relative=False,
        optionflags=doctest.ELLIPSIS,
    )
    assert result.failed == 0
    assert result.attempted > 15


@pytest.mark.parametrize(
    'module',
    [
        *('vocabulary', 'rejection', 'templates'),
        *('palette', 'oklab', 'color_words', 'class_colors'),
    ],
)
def test_examples_of_docstrings(module):
    result = doctest.testmod(importlib.import_module(f'ovseg.vocabulary.{module}'))
    assert result.failed == 0
    assert result.attempted > 0
