"""When the stand-in is installed and when not, each case in a fresh process.

A fabricated `mmcv` package stands before the installed one, so that the tests say the same in an
environment whose mmcv has its real extension.
"""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from scripts import run_python


def printed_by(code: str, *flags: str, path: Path | None = None) -> str:
    done = run_python(code, *flags, path=path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ''
    return done.stdout.strip()


@functools.cache
def words_of_mmengine() -> tuple[str, str]:
    """Empty, but for mmengine 0.10.7 on torch 2.5, which speaks at its own import."""
    done = run_python('import mmengine.optim')
    return done.stdout, done.stderr


@pytest.fixture
def bare_mmcv(tmp_path: Path) -> Path:
    """A folder with an mmcv that has no extension."""
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').touch()
    return tmp_path


@pytest.fixture
def compiled_mmcv(bare_mmcv: Path) -> Path:
    """A folder with an mmcv that has its own extension."""
    (bare_mmcv / 'mmcv' / '_ext.py').write_text("nms = 'the real one'\n")
    return bare_mmcv


def test_import_ovseg_prints_and_warns_nothing():
    assert printed_by('import ovseg', '-W', 'error') == ''


def test_import_ovseg_loads_no_heavy_package():
    code = (
        'import sys, ovseg; '
        "print({'torch', 'torchvision', 'cv2', 'mmcv', 'mmseg', 'mmdet'} & set(sys.modules))"
    )
    assert printed_by(code) == 'set()'


def test_models_of_mmseg_and_mmdet_import_without_a_word_after_ovseg():
    done = run_python('import ovseg, mmseg.models, mmdet.models')
    assert done.returncode == 0
    assert (done.stdout, done.stderr) == words_of_mmengine()


def test_stand_in_serves_an_mmcv_without_extension(bare_mmcv: Path):
    code = 'import ovseg; from mmcv import _ext; print(type(_ext).__name__)'
    assert printed_by(code, path=bare_mmcv) == 'MMCVExtension'


def test_real_extension_is_left_alone(compiled_mmcv: Path):
    code = 'import ovseg, mmcv._ext; print(mmcv._ext.nms)'
    assert printed_by(code, path=compiled_mmcv) == 'the real one'


def test_real_extension_already_imported_is_left_alone(compiled_mmcv: Path):
    code = 'import mmcv._ext as ext, ovseg, sys; print(sys.modules["mmcv._ext"] is ext, ext.nms)'
    assert printed_by(code, path=compiled_mmcv) == 'True the real one'


def test_nothing_is_installed_without_mmcv():
    code = "import sys; sys.modules['mmcv'] = None; import ovseg; print('mmcv._ext' in sys.modules)"
    assert printed_by(code) == 'False'


def test_second_install_changes_nothing(bare_mmcv: Path):
    code = (
        'import sys, ovseg; first = sys.modules["mmcv._ext"]; from ovseg import compat; '
        'compat.install(); print(sys.modules["mmcv._ext"] is first)'
    )
    assert printed_by(code, path=bare_mmcv) == 'True'


def test_too_late_an_import_is_said_in_one_sentence(bare_mmcv: Path):
    code = (
        "import sys, types; sys.modules['mmseg.models'] = types.ModuleType('mmseg.models'); "
        'import ovseg'
    )
    done = run_python(code, path=bare_mmcv)
    assert done.returncode == 0
    assert done.stderr.count('Warning') == 1
    assert 'import ovseg before mmseg.' in done.stderr


def test_mmseg_models_before_ovseg_is_no_matter_with_a_real_extension(compiled_mmcv: Path):
    code = (
        "import sys, types; sys.modules['mmseg.models'] = types.ModuleType('mmseg.models'); "
        'import ovseg'
    )
    assert printed_by(code, path=compiled_mmcv) == ''


def test_mmcv_still_says_that_it_has_no_compiled_ops(bare_mmcv: Path):
    # What mmcv.utils.ext_loader.check_ops_exist and others ask.
    code = "import ovseg, importlib.util as u; print(u.find_spec('mmcv._ext').loader)"
    assert printed_by(code, path=bare_mmcv) == 'None'


def test_our_datasets_import_without_a_word():
    done = run_python('import ovseg.datasets')
    assert done.returncode == 0
    assert (done.stdout, done.stderr) == words_of_mmengine()
