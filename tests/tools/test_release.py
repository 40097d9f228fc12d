"""A release is checked: its version, its changelog, and what its wheel holds."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile

import pytest
from scripts import ROOT, load_script

from ovseg.errors import UserError

release = load_script('release')

TRACKED = [
    *('setup.py', 'LICENSE', 'model-index.yml', 'tests/test_it.py'),
    *('ovseg/__init__.py', 'ovseg/py.typed', 'ovseg/weights/tiny.safetensors'),
    *('configs/maskclip/a.py', 'tools/test.py', 'tools/dist_test.sh', 'demo/scene.png'),
]
PACKED = [
    *('ovseg/__init__.py', 'ovseg/py.typed', 'ovseg/weights/tiny.safetensors'),
    *('ovseg/.mim/model-index.yml', 'ovseg/.mim/configs/maskclip/a.py', 'ovseg/.mim/tools/test.py'),
    *('ovseg/.mim/tools/dist_test.sh', 'ovseg/.mim/demo/scene.png'),
    'ovseg-0.2.0.dist-info/licenses/LICENSE',
]


def write_wheel(folder, names, version='0.2.0'):
    path = folder / 'ovseg-0.2.0-py3-none-any.whl'
    with zipfile.ZipFile(path, 'w') as archive:
        for name in names:
            archive.writestr(name, '')
        if version:
            metadata = f'Metadata-Version: 2.4\nName: ovseg\nVersion: {version}\n'
            archive.writestr('ovseg-0.2.0.dist-info/METADATA', metadata)
    return path


def changelog(unreleased='', heading='[0.2.0] - 2026-11-30', entries='- New tools.\n'):
    return (
        f'# Changelog\n\n## [Unreleased]\n\n{unreleased}\n'
        f'## {heading}\n\n### Added\n\n{entries}\n## [0.1.0] - 2026-01-01\n\n- All of it.\n'
    )


def test_the_version_of_the_package_is_read():
    text = (ROOT / 'ovseg' / '__init__.py').read_text(encoding='utf-8')
    assert f"__version__ = '{release.read_version(text)}'" in text


@pytest.mark.parametrize('text', ['', "__version__ = 'soon'", "__version__ = '1.2'"])
def test_a_text_without_a_version_is_refused(text):
    with pytest.raises(UserError, match='no __version__ of three numbers'):
        release.read_version(text)


@pytest.mark.parametrize(
    ('version', 'tags', 'good'),
    [
        ('0.1.0', [], True),
        ('0.2.0', ['v0.1.0', 'v0.1.9'], True),
        ('0.10.0', ['v0.9.0'], True),
        ('0.2.0', ['v0.2.0'], False),
        ('0.2.0', ['v0.1.0', 'v0.10.0'], False),
        ('0.2.0', ['video', 'v0.1.0'], True),
    ],
)
def test_a_version_must_be_newer_than_every_release(version, tags, good):
    problems = release.check_version(version, tags)
    assert (not problems) == good
    assert good or f'says {version}, but {tags[-1]} is released' in problems[0]


def test_a_dated_section_and_nothing_unreleased_is_a_good_changelog():
    assert release.check_changelog(changelog(), '0.2.0') == []


@pytest.mark.parametrize(
    ('text', 'problem'),
    [
        (changelog(heading='[0.2.0]'), 'has no section'),
        (changelog(heading='[0.2.1] - 2026-11-30'), 'has no section'),
        (changelog(heading='[0.2.0] - soon'), 'has no section'),
        (changelog(entries=''), 'says nothing about 0.2.0'),
        (changelog('- One.\n- Two.\n'), "2 entries under Unreleased, the first 'One.'"),
        ('', 'has no section'),
    ],
)
def test_what_a_changelog_lacks_is_said(text, problem):
    (said,) = release.check_changelog(text, '0.2.0')
    assert problem in said


def test_a_whole_wheel_is_accepted(tmp_path):
    assert release.check_wheel(write_wheel(tmp_path, PACKED), TRACKED, '0.2.0') == []


@pytest.mark.parametrize('gone', PACKED[:-1])
def test_a_file_that_a_wheel_lacks_is_named(tmp_path, gone):
    wheel = write_wheel(tmp_path, [name for name in PACKED if name != gone])
    (said,) = release.check_wheel(wheel, TRACKED, '0.2.0')
    assert said.endswith(f'lacks 1 files: {gone}')


@pytest.mark.parametrize('extra', ['tests/test_it.py', 'ovseg/.mim/tools/x.pyc', 'ovseg/notes.txt'])
def test_a_file_that_does_not_belong_in_a_wheel_is_named(tmp_path, extra):
    (said,) = release.check_wheel(write_wheel(tmp_path, [*PACKED, extra]), TRACKED, '0.2.0')
    assert said.endswith(f'has, not in git, 1 files: {extra}')


def test_a_wheel_without_licence_or_of_another_version_is_refused(tmp_path):
    said = release.check_wheel(write_wheel(tmp_path, PACKED[:-1], '0.1.0'), TRACKED, '0.2.0')
    assert 'has the version 0.1.0, not 0.2.0' in said[0] and 'has no LICENSE' in said[1]
    (said,) = release.check_wheel(write_wheel(tmp_path, PACKED, None), TRACKED, '0.2.0')
    assert 'has the version None' in said


def test_commands_run_without_the_checkout_on_the_path(tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    code = 'import os, sys; print(os.getcwd(), os.environ.get("PYTHONPATH"))'
    said = release.run([sys.executable, '-c', code], 'looking', tmp_path)
    assert said.split() == [str(tmp_path), 'None']


def test_a_command_that_fails_says_its_last_lines():
    code = 'import sys; sys.exit("no room\\nleft")'
    with pytest.raises(UserError, match=r'packing failed with exit code 1: no room \| left'):
        release.run([sys.executable, '-c', code], 'packing')


def test_all_that_is_wrong_with_a_checkout_is_listed_before_anything_is_built(
    tmp_path, monkeypatch, capsys
):
    said = ('0.2.0', TRACKED, ['one thing', 'another'])
    monkeypatch.setattr(release, 'check_checkout', lambda root: said)
    assert release.main(['--out', str(tmp_path / 'dist')]) == 2
    assert capsys.readouterr().err == 'error: one thing\nerror: another\n'
    assert not (tmp_path / 'dist').exists()


@pytest.mark.skipif(shutil.which('git') is None, reason='needs git')
def test_a_checkout_says_its_version_its_files_and_what_is_wrong(tmp_path):
    (tmp_path / 'ovseg').mkdir()
    (tmp_path / 'ovseg' / '__init__.py').write_text("__version__ = '0.2.0'\n")
    (tmp_path / 'CHANGELOG.md').write_text(changelog())
    identity = ('-c', 'user.name=Tester', '-c', 'user.email=tester@localhost')
    for words in (('init', '--quiet'), ('add', '.'), (*identity, 'commit', '-qm', 'All')):
        subprocess.run(['git', *words], cwd=tmp_path, check=True)
    tracked = ['CHANGELOG.md', 'ovseg/__init__.py']
    assert release.check_checkout(tmp_path) == ('0.2.0', tracked, [])
    subprocess.run(['git', 'tag', 'v0.2.0'], cwd=tmp_path, check=True)
    (tmp_path / 'notes.txt').write_text('')
    problems = release.check_checkout(tmp_path)[2]
    assert 'v0.2.0 is released' in problems[0]
    assert problems[1] == 'the checkout has 1 uncommitted changes: commit them'
