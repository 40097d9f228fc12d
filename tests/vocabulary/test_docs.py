"""The examples of the guide to words print what it says."""

from __future__ import annotations

import doctest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_examples_of_the_guide_to_words():
    result = doctest.testfile(
        str(ROOT / 'docs' / 'vocabularies.md'),
        module_relative=False,
        optionflags=doctest.ELLIPSIS,
    )
    assert result.failed == 0
    assert result.attempted > 15
