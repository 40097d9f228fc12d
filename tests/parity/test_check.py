from __future__ import annotations

import shutil

import pytest
import torch
from scripts import ROOT, load_script

from ovseg.errors import UserError
from parity import check_path
from parity.check import golden_set

GOLDEN = ROOT / 'tests' / 'data' / 'maskclip'
METHODS = ('maskclip', 'clip_dinoiser', 'training_free_attention')
FILES = [path for method in METHODS for path in sorted((ROOT / 'tests/data' / method).glob('*.pt'))]


ATTENTION = ROOT / 'tests' / 'data' / 'training_free_attention'


@pytest.mark.parametrize('path', FILES, ids=lambda path: f'{path.parent.name}/{path.stem}')
def test_every_quantity_agrees_with_the_reference(path):
    (report,) = check_path(path)
    assert report.passed, report.text()
    assert len(report.lines) >= 2


def test_weights_of_one_name_are_told_apart_by_what_they_hold(tmp_path):
    shutil.copy(ATTENTION / 'weights.pt', tmp_path / 'weights.pt')
    (report,) = check_path(tmp_path)
    assert report.passed and len(report.lines) > 50
    assert 'state_dict_dino.cls_token' in report.text()
    torch.save({'config': {}, 'state_dict': {}}, tmp_path / 'weights.pt')
    (report,) = check_path(tmp_path)
    assert not report.passed


@pytest.mark.parametrize(
    ('file', 'change', 'name'),
    [
        ('sclip.pt', lambda c: c['features']['rect']['csa_attn'], 'features.rect.csa_attn'),
        ('naclip.pt', lambda c: c['pipelines'][0]['logits'], 'pipelines.0.logits'),
        ('clearclip.pt', lambda c: c['pipelines'][0]['probs'], 'pipelines.0.probs'),
        ('proxyclip.pt', lambda c: c['pipelines'][0]['logits'], 'pipelines.0.logits'),
    ],
)
def test_a_changed_quantity_of_the_attentions_fails_and_is_named(file, change, name, tmp_path):
    for path in ATTENTION.glob('*.pt'):
        shutil.copy(path, tmp_path)
    content = torch.load(tmp_path / file, weights_only=True)
    change(content).flatten()[0] += 1e-2
    torch.save(content, tmp_path / file)
    (report,) = check_path(tmp_path / file)
    assert [line.name for line in report.lines if line.status != 'ok'] == [name]


def test_a_changed_quantity_fails_and_is_named(tmp_path):
    for path in GOLDEN.glob('vit_dense*.pt'):
        shutil.copy(path, tmp_path)
    cases = torch.load(tmp_path / 'vit_dense_cases.pt', weights_only=True)
    cases['cases'][0]['feat'][0, 0, 0, 0] += 1e-2
    torch.save(cases, tmp_path / 'vit_dense_cases.pt')
    (report,) = check_path(tmp_path / 'vit_dense_cases.pt')
    assert [line.name for line in report.lines if line.status != 'ok'] == ['cases.0.feat']


def test_a_quantity_that_no_check_knows_is_missing_and_fails(tmp_path):
    content = torch.load(GOLDEN / 'preprocess.pt', weights_only=True)
    content['cases'][0]['novelty'] = torch.zeros(3)
    torch.save(content, tmp_path / 'preprocess.pt')
    (report,) = check_path(tmp_path / 'preprocess.pt')
    assert not report.passed
    assert [line.name for line in report.lines if line.status == 'missing'] == ['cases.0.novelty']


def test_a_file_in_the_folder_of_another_set_is_not_taken_for_one_of_its_own(tmp_path):
    for home in ('trident', 'elsewhere'):
        (tmp_path / home).mkdir()
        shutil.copy(GOLDEN / 'preprocess.pt', tmp_path / home)
    (in_trident,) = check_path(tmp_path / 'trident')
    (elsewhere,) = check_path(tmp_path / 'elsewhere')
    assert not in_trident.passed
    assert 'trident has no check of a file of this name' in in_trident.text()
    assert elsewhere.passed


@pytest.mark.parametrize('name', ['units.pt', 'case_activesam.pt', 'weights.pt'])
def test_a_file_of_a_set_without_checks_is_missing_though_others_have_one_of_its_name(
    name, tmp_path
):
    (tmp_path / 'next_method').mkdir()
    torch.save({'config': {}, 'novelty': torch.zeros(1)}, tmp_path / 'next_method' / name)
    (report,) = check_path(tmp_path / 'next_method' / name)
    assert [line.status for line in report.lines] == ['missing']


def test_a_file_that_two_sets_may_own_asks_for_a_folder_of_its_sets_name(tmp_path):
    torch.save({'class_embeddings': {}, 'state_dict_clip': {}}, tmp_path / 'weights.pt')
    (report,) = check_path(tmp_path)
    assert not report.passed
    assert 'clip_dinoiser and training_free_attention have such a file' in report.text()


def test_all_golden_folders_with_checks_are_compared_and_the_others_named(tmp_path, capsys):
    for name in ('maskclip', 'next_method'):
        (tmp_path / name).mkdir()
    shutil.copy(GOLDEN / 'preprocess.pt', tmp_path / 'maskclip')
    torch.save({'novelty': torch.zeros(1)}, tmp_path / 'next_method' / 'units.pt')
    check_parity = load_script('check_parity')
    assert check_parity.main(['--all', str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert 'maskclip/preprocess.pt' in printed and 'no check yet: next_method\n' in printed
    torch.save({}, tmp_path / 'maskclip' / 'other.pt')
    assert check_parity.main(['--all', str(tmp_path)]) == 1
    with pytest.raises(UserError, match='holds no golden folder'):
        check_parity.main(['--all', str(tmp_path / 'maskclip')])


def test_an_unknown_file_is_missing_and_fails(tmp_path):
    torch.save({'a': torch.zeros(1)}, tmp_path / 'other.pt')
    (report,) = check_path(tmp_path)
    assert not report.passed


def test_a_method_not_built_yet_is_listed_in_a_folder_and_fails_when_asked_for(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(golden_set('trident').not_covered, 'future.pt', 'it is not built yet')
    torch.save({}, tmp_path / 'future.pt')
    (in_folder,) = check_path(tmp_path)
    (by_name,) = check_path(tmp_path / 'future.pt')
    assert in_folder.passed and 'not covered' in in_folder.text()
    assert not by_name.passed


def test_a_check_that_stops_fails_its_file_and_the_next_one_is_checked(tmp_path, capsys):
    torch.save({'cases': [{'img': 'no image'}]}, tmp_path / 'maskclip_plus.pt')
    shutil.copy(GOLDEN / 'preprocess.pt', tmp_path)
    stopped, whole = check_path(tmp_path)
    assert [(line.name, line.status) for line in stopped.lines] == [
        ('maskclip_plus.pt', 'FAILED'),
        ('cases.0.img', 'missing'),
    ]
    assert "the check stopped: KeyError: 'feat_in'" in stopped.text()
    assert 'Traceback' in capsys.readouterr().err
    assert whole.passed


def test_nothing_to_check_is_an_error(tmp_path):
    with pytest.raises(UserError, match='holds no .pt file'):
        list(check_path(tmp_path))
    with pytest.raises(UserError, match='does not exist'):
        list(check_path(tmp_path / 'nowhere'))


def test_the_command_exits_1_when_a_quantity_disagrees(tmp_path, capsys):
    content = torch.load(GOLDEN / 'preprocess.pt', weights_only=True)
    content['mean'] = [1.0, 2.0, 3.0]
    torch.save(content, tmp_path / 'preprocess.pt')
    check_parity = load_script('check_parity')
    assert check_parity.main([str(tmp_path)]) == 1
    assert 'FAILED  mean' in capsys.readouterr().out
    assert check_parity.main([str(GOLDEN / 'preprocess.pt')]) == 0
