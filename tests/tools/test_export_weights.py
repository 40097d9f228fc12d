"""The weights of a checkpoint, alone and in half precision."""

from __future__ import annotations

import torch
from safetensors.torch import load_file
from tool_runs import run_tool


def test_weights_are_written_without_the_rest(tmp_path, capsys):
    state = {'a.weight': torch.rand(3, 4), 'a.count': torch.tensor(7)}
    torch.save({'state_dict': state, 'optimizer': {'lr': 1.0}}, tmp_path / 'iter_3.pth')
    out = tmp_path / 'small.safetensors'
    assert run_tool('export', 'weights', tmp_path / 'iter_3.pth', out) == 0
    written = load_file(out)
    assert written.keys() == state.keys() and written['a.count'] == 7
    assert written['a.weight'].dtype == torch.float16
    assert torch.allclose(written['a.weight'].float(), state['a.weight'], atol=1e-3)
    assert '2 tensors in float16' in capsys.readouterr().out
    assert run_tool('export', 'weights', tmp_path / 'iter_3.pth', out, '--dtype', 'float32') == 0
    assert torch.equal(load_file(out)['a.weight'], state['a.weight'])


def test_what_cannot_be_written_is_said(tmp_path, capsys):
    torch.save({'a': torch.tensor([1e6])}, tmp_path / 'large.pth')
    out = tmp_path / 'small.safetensors'
    assert run_tool('export', 'weights', tmp_path / 'large.pth', out) == 2
    assert 'a of the checkpoint is not finite in float16' in capsys.readouterr().err
    assert run_tool('export', 'weights', tmp_path / 'large.pth', tmp_path / 'small.pth') == 2
    assert 'must end in .safetensors' in capsys.readouterr().err
    assert not out.exists()
