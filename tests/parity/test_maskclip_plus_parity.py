from __future__ import annotations

import pytest
import torch
from scripts import ROOT

from parity import check_path

GOLDEN = ROOT / 'tests' / 'data' / 'maskclip' / 'maskclip_plus.pt'


@pytest.fixture(scope='module')
def content():
    return torch.load(GOLDEN, weights_only=True)


def failures(content, folder):
    torch.save(content, folder / GOLDEN.name)
    (report,) = check_path(folder / GOLDEN.name)
    return [line.name for line in report.lines if line.status != 'ok']


@pytest.mark.parametrize(
    'change, names',
    [
        (lambda case: case['losses']['acc_seg'].add_(1), ['cases.0.losses.acc_seg']),
        (lambda case: case['grad_feat_in'].mul_(1.01), ['cases.0.grad_feat_in']),
        (lambda case: case['label_used'].clamp_(max=3), ['cases.0.label_used']),
        (lambda case: case.update(iter_counter=7), ['cases.0.iter_counter']),
        (lambda case: case.update(novelty=torch.zeros(1)), ['cases.0.novelty']),
        (lambda case: case.update(name='other'), ['cases.0.name']),
    ],
)
def test_a_changed_quantity_fails_and_is_named(content, tmp_path, change, names):
    changed = torch.load(GOLDEN, weights_only=True)
    changed['cases'] = changed['cases'][:1]
    change(changed['cases'][0])
    assert failures(changed, tmp_path) == names


def test_another_teacher_in_the_checkpoint_than_in_the_config_stops(content, tmp_path):
    from ovseg.engine.checkpoint import load_state_strict
    from ovseg.errors import UserError
    from parity.maskclip.plus import golden_student, teacher_files

    with teacher_files(content) as files:
        model = golden_student(content, 'clip_guided', files)
    state = model.to_published()
    load_state_strict(model, state, 'file.pth')
    state['decode_head.clip.ln1.bias'] = state['decode_head.clip.ln1.bias'] + 1
    with pytest.raises(UserError, match='other weights for the frozen part .*ln_post.bias'):
        load_state_strict(model, state, 'file.pth')
