from __future__ import annotations

import ast
from pathlib import Path

import ovseg


def test_checkers_see_the_public_names_that_are_imported_on_first_use():
    """What stands under ``if TYPE_CHECKING`` gives editors what ``__getattr__`` gives programs."""
    tree = ast.parse(Path(ovseg.__file__).read_text(encoding='utf-8'))
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module
        for block in blocks
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == ovseg._PUBLIC
    assert sorted(ovseg.__all__) == sorted([*seen, '__version__'])
    for name in ovseg.__all__:
        assert getattr(ovseg, name) is not None


def test_the_package_says_that_it_has_types():
    assert (Path(ovseg.__file__).parent / 'py.typed').is_file()
