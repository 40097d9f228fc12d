from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

import ovseg


@pytest.mark.parametrize('name', ['ovseg', 'ovseg.apis', 'ovseg.datasets', 'ovseg.images'])
def test_checkers_see_the_public_names_that_are_imported_on_first_use(name):
    """What stands under ``if TYPE_CHECKING`` gives editors what ``__getattr__`` gives programs."""
    package = import_module(name)
    tree = ast.parse(Path(package.__file__).read_text(encoding='utf-8'))
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module
        for block in blocks
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    (table,) = (node for node in ast.walk(tree) if isinstance(node, ast.Dict))
    by_module = ast.literal_eval(table)
    assert seen == {name: module for module, names in by_module.items() for name in names}
    assert sorted({*package.__all__} - {'__version__'}) == sorted(seen)
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in dir(package)


def test_the_package_says_that_it_has_types():
    assert (Path(ovseg.__file__).parent / 'py.typed').is_file()
