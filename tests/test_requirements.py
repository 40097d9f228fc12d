"""What is imported is declared, and the lists of versions agree."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from scripts import ROOT, run_python

# Distributions whose import name is another one.
DISTRIBUTIONS = {
    'PIL': 'pillow',
    'cv2': 'opencv-python',
    'faiss': 'faiss-cpu',
    'mmcv': 'onedl-mmcv',
    'mmdet': 'onedl-mmdetection',
    'mmengine': 'onedl-mmengine',
    'mmseg': 'onedl-mmsegmentation',
    'open_clip': 'open_clip_torch',
    'yaml': 'pyyaml',
}
# Asked for only where they are running already: in a notebook, and in the server of Label Studio's
# backends, which is no release on PyPI; _typeshed by type checkers.
PRESENT = {'IPython', '_typeshed', 'label_studio_ml', 'label_studio_sdk'}
FOLDERS = ('ovseg', 'tools', 'demo', 'benchmarks')


def read(name: str) -> dict[str, Requirement]:
    """The requirements of a file by their normalised names."""
    lines = (ROOT / 'requirements' / name).read_text(encoding='utf-8').splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith('#')]
    return {canonicalize_name(one.name): one for one in found}


def extras() -> dict[str, Requirement]:
    """What setup.py declares as extras beside the tests, by normalised names."""
    tree = ast.parse((ROOT / 'setup.py').read_text(encoding='utf-8'))
    (given,) = (
        word.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for word in node.keywords
        if word.arg == 'extras_require'
    )
    lists = [value for value in given.values if isinstance(value, ast.List)]
    found = [Requirement(line) for one in lists for line in ast.literal_eval(one)]
    return {canonicalize_name(one.name): one for one in found}


def imported(source: str) -> set[str]:
    """Top names of all absolute imports, those inside functions and by `extra_module` included.

    >>> sorted(imported('import a.b\\nfrom . import c\\ndef f():\\n    from d.e import g'))
    ['a', 'd']
    """
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.append(node.module)
        elif isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'extra_module':
            names.append(ast.literal_eval(node.args[0]))
    return {name.split('.')[0] for name in names}


def third_party(paths: list[Path]) -> dict[str, Path]:
    """Import names that are neither Python's nor ours, each with a file that has it."""
    ours = {'ovseg', *(path.stem for path in paths), *(path.parent.name for path in paths)}
    ours.add('parity')  # tests/parity, which tools/check_parity.py runs
    known = ours | PRESENT | sys.stdlib_module_names
    return {
        name: path
        for path in paths
        for name in imported(path.read_text(encoding='utf-8'))
        if name not in known
    }


def distribution(name: str) -> str:
    return canonicalize_name(DISTRIBUTIONS.get(name, name))


def test_everything_that_is_imported_is_declared():
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob('*.py'))]
    declared = read('runtime.txt').keys() | extras().keys()
    undeclared = {
        name: str(path.relative_to(ROOT))
        for name, path in third_party(paths).items()
        if distribution(name) not in declared
    }
    assert not undeclared


def test_what_tests_import_is_declared():
    paths = sorted((ROOT / 'tests').rglob('*.py')) + sorted((ROOT / 'benchmarks').rglob('*.py'))
    # mmengine brings yapf, which its configs are written with.
    declared = read('runtime.txt').keys() | read('tests.txt').keys() | {'setuptools', 'yapf'}
    scripts = {path.stem for path in (ROOT / 'tools').glob('*.py')}
    found = third_party(paths)
    assert not {name for name in found if distribution(name) not in declared} - scripts


def test_everything_that_is_declared_is_imported():
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob('*.py'))]
    used = {distribution(name) for name in third_party(paths)}
    # mmengine imports the first by the name of its backend, transformers the other where it reads
    # a SentencePiece model.
    assert read('runtime.txt').keys() | extras().keys() == used | {'tensorboard', 'protobuf'}


@pytest.mark.parametrize('name', ['lock.txt', 'lowest.txt', 'newest.txt'])
def test_a_list_of_versions_pins_every_requirement_within_its_bounds(name):
    bounds, pins = read('runtime.txt'), read(name)
    assert pins.keys() == bounds.keys()
    for key, pin in pins.items():
        (only,) = pin.specifier
        assert only.operator == '=='
        assert bounds[key].specifier.contains(only.version), pin


def test_the_lowest_versions_are_the_bounds():
    bounds = {name: str(one.specifier) for name, one in read('runtime.txt').items()}
    lowest = {name: str(one.specifier) for name, one in read('lowest.txt').items()}
    assert lowest == {name: bound.replace('>=', '==') for name, bound in bounds.items()}


def test_the_page_is_tested_on_a_version_of_its_extra():
    pins, wanted = read('page.txt'), extras()['gradio']
    assert all(len(pin.specifier) == 1 and '==' in str(pin.specifier) for pin in pins.values())
    (only,) = pins['gradio'].specifier
    assert wanted.specifier.contains(only.version)
    assert not pins.keys() & (read('lock.txt').keys() | read('tests.txt').keys())


def test_a_linter_has_one_version_in_all_environments():
    assert read('docs.txt')['ruff'] == read('lint.txt')['ruff']


def test_an_import_inside_a_function_is_seen():
    source = 'import a.b\nfrom . import c\nfrom .x import y\ndef f():\n    from d.e import g\n'
    assert imported(source) == {'a', 'd'}
    assert imported("extra_module('f.g', 'h', 'I')") == {'f'}


def test_reading_the_version_imports_nothing(tmp_path):
    code = (
        'import sys, runpy, setuptools\n'
        'setuptools.setup = lambda **given: print(given["version"])\n'
        f'runpy.run_path({str(ROOT / "setup.py")!r})\n'
        'assert "torch" not in sys.modules and "ovseg" not in sys.modules\n'
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    text = (ROOT / 'ovseg' / '__init__.py').read_text(encoding='utf-8')
    assert f"__version__ = '{done.stdout.strip()}'\n" in text
