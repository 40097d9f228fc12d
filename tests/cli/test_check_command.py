"""``ovseg check``: what it finds on this machine, and what it says where something is amiss."""

from __future__ import annotations

import json

import pytest

from ovseg.cli import installation
from ovseg.cli.command import main
from ovseg.cli.installation import SCENE, Package, package_of


@pytest.fixture
def no_scene(monkeypatch):
    """The run of a model is left out: it is tried once."""
    monkeypatch.setattr(installation, '_scene', lambda device: 'left out')


def test_it_works_here(capsys):
    code = main(['check', '--json'])
    found = json.loads(capsys.readouterr().out)
    (scene,) = (check for check in found['checks'] if check['name'] == SCENE)
    assert found['works'] and 'maskclip-tiny on ' in scene['said']
    assert code == 0 if found['all_fine'] else code == 1
    assert 'torch' in found['packages']


def test_a_device_that_is_missing_means_that_it_does_not_work(capsys):
    assert main(['check', '--device', 'cuda:77']) == 2
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(SCENE) and 'AMISS' in last and "no device 'cuda:77'" in last


def test_a_model_that_sees_nothing_is_noticed(monkeypatch, capsys):
    monkeypatch.setattr(installation, '_ENOUGH', 0.999)
    assert main(['check', '-q']) == 2
    assert capsys.readouterr() == ('', '')


def test_missing_and_old_packages_are_listed_with_the_remedy(no_scene, monkeypatch, capsys):
    packages = [Package('torch', '2.4.1', '2.5.0'), Package('timm', None, '1.0'), Package('a', '1')]
    monkeypatch.setattr(installation, 'versions', lambda: packages)
    assert main(['check']) == 1
    out = capsys.readouterr().out
    assert 'AMISS' in out and 'pip install "torch>=2.5.0" "timm>=1.0"' in out
    assert 'missing' in out


def test_an_import_that_fails_is_a_line_of_the_report(no_scene, monkeypatch, capsys):
    monkeypatch.setattr(installation, '_IMPORTED', ('json', 'no_such_module'))
    assert main(['check', '--json']) == 1
    found = json.loads(capsys.readouterr().out)
    (imports,) = (check for check in found['checks'] if check['name'] == 'imports')
    assert not imports['fine'] and 'no_such_module cannot be imported' in imports['said']


def test_a_cache_that_cannot_be_written_is_found(no_scene, monkeypatch, tmp_path, capsys):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('OVSEG_CACHE', str(tmp_path / 'file'))
    assert main(['check']) == 1
    assert 'AMISS' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('version', 'fits'), [('2.5.0', True), ('2.11.0+cu130', True), ('2.4.9', False)]
)
def test_versions_are_compared_by_their_numbers(version, fits):
    assert Package('torch', version, '2.5.0').fits is fits


def test_the_original_of_a_package_serves_as_well(monkeypatch):
    def version(name):
        if name != 'mmcv-lite':
            raise installation.metadata.PackageNotFoundError(name)
        return '2.1.0'

    monkeypatch.setattr(installation.metadata, 'version', version)
    assert package_of('onedl-mmcv>=2.3.6') == Package('mmcv-lite', '2.1.0')
