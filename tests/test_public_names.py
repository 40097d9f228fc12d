from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

import ovseg


@pytest.mark.parametrize(
    'name', ['ovseg', 'ovseg.apis', 'ovseg.datasets', 'ovseg.images', 'ovseg.rasters']
)
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


def test_the_page_of_the_segmenter_lists_all_that_people_may_call():
    """Its members come from several classes, so that the page has them in an order of its own."""
    page = Path(ovseg.__file__).parents[1] / 'docs' / 'api' / 'segmenter.md'
    first = page.read_text(encoding='utf-8').split(':::')[1]
    listed = [line.split()[1] for line in first.splitlines() if line.startswith('        - ')]
    public = {name for name in dir(ovseg.OpenVocabSegmenter) if not name.startswith('_')}
    assert sorted(listed) == sorted(public)
