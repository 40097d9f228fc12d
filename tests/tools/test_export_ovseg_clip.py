"""An adapted CLIP in OVSeg's formats: a file of its own, or inside a checkpoint."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import DefaultScope
from scripts import ROOT
from tiny_clip_models import VIT
from tool_runs import run_tool, same

from ovseg.encoders import load_clip
from ovseg.encoders.adapted_clip import AdaptedCLIP
from ovseg.encoders.mask_prompted_vit import MaskPromptedViT
from ovseg.engine import read_checkpoint
from ovseg.errors import UserError
from ovseg.training import MaskAdaptation

INSIDE = 'clip_adapter.clip_model.'


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    """Trained halves of a random CLIP, with configs, and an OVSeg checkpoint around another one."""
    folder = tmp_path_factory.mktemp('export')
    torch.manual_seed(0)
    torch.save(load_clip(VIT, 'random').model.state_dict(), folder / 'clip.pt')
    clip = dict(model=VIT, pretrained=str(folder / 'clip.pt'))
    for name, part in (('ft', 'image_tower'), ('mpt', 'mask_prompts')):
        with DefaultScope.overwrite_default_scope('ovseg'):
            model = MaskAdaptation(clip, part, prompt_depth=2)
        with torch.no_grad():
            for value in model.parameters():
                if value.requires_grad:
                    value.add_(0.25)
        content = {'meta': {'epoch': 5}, 'state_dict': model.state_dict()}
        torch.save(content, folder / f'{name}.pth')
        torch.save(model.to_published(), folder / f'{name}_whole.pt')
        arguments = dict(type='MaskAdaptation', clip=clip, train=part, prompt_depth=2)
        (folder / f'{name}.py').write_text(f'model = {arguments!r}\n', encoding='utf-8')
    other = torch.nn.Module()
    other.adapter = torch.nn.Linear(1, 1)
    model = other.state_dict()  # with the version of each module, as detectron2 saves it
    model.update({INSIDE + key: value * 0 for key, value in read(folder, 'mpt').items()})
    assert model._metadata
    torch.save({'model': model, 'iteration': 7}, folder / 'ovseg.pth')
    return folder


def read(folder, name):
    return torch.load(folder / f'{name}_whole.pt', weights_only=True)


@pytest.mark.parametrize('name', ['ft', 'mpt'])
def test_the_file_is_what_open_clips_fork_saves(world, tmp_path, name):
    out = tmp_path / 'clip.pt'
    assert run_tool('export', 'ovseg-clip', world / f'{name}.py', world / f'{name}.pth', out) == 0
    content = torch.load(out, weights_only=True)
    assert (content['epoch'], content['name']) == (5, name)
    expected = read(world, name)
    assert ('visual.mask_embedding' in expected) == (name == 'mpt')
    assert same(content['state_dict'], {f'module.{key}': expected[key] for key in expected})


def test_an_exported_fine_tuning_loads_as_a_clip(world, tmp_path):
    out = tmp_path / 'clip.pt'
    assert run_tool('export', 'ovseg-clip', world / 'ft.py', world / 'ft.pth', out) == 0
    assert same(load_clip(VIT, str(out)).model.state_dict(), read(world, 'ft'))


def test_prompts_and_tower_replace_those_of_an_ovseg_checkpoint(world, tmp_path):
    out = tmp_path / 'ovseg.pth'
    words = [world / 'mpt.py', world / 'mpt.pth', out, '--into', world / 'ovseg.pth']
    assert run_tool('export', 'ovseg-clip', *words) == 0
    content = read_checkpoint(out)
    before = read_checkpoint(world / 'ovseg.pth')
    assert content['iteration'] == 7
    assert content['model']._metadata == before['model']._metadata
    inside = {k: v for k, v in content['model'].items() if k.startswith(INSIDE)}
    assert same(inside, {INSIDE + key: value for key, value in read(world, 'mpt').items()})
    assert torch.equal(content['model']['adapter.weight'], before['model']['adapter.weight'])


def test_fine_tuning_leaves_the_prompts_of_the_checkpoint(world, tmp_path):
    out = tmp_path / 'ovseg.pth'
    words = [world / 'ft.py', world / 'ft.pth', out, '--into', world / 'ovseg.pth']
    assert run_tool('export', 'ovseg-clip', *words) == 0
    model = read_checkpoint(out)['model']
    assert not model[f'{INSIDE}visual.mask_embedding'].any()
    expected = read(world, 'ft')['visual.conv1.weight']
    assert torch.equal(model[f'{INSIDE}visual.conv1.weight'], expected)


def test_prompts_are_added_to_a_baseline_without(world, tmp_path):
    content = read_checkpoint(world / 'ovseg.pth')
    del content['model'][f'{INSIDE}visual.mask_embedding']
    torch.save(content, tmp_path / 'baseline.pth')
    out = tmp_path / 'ovseg.pth'
    words = [world / 'mpt.py', world / 'mpt.pth', out, '--into', tmp_path / 'baseline.pth']
    assert run_tool('export', 'ovseg-clip', *words) == 0
    expected = read(world, 'mpt')['visual.mask_embedding']
    assert torch.equal(read_checkpoint(out)['model'][f'{INSIDE}visual.mask_embedding'], expected)


@pytest.mark.parametrize('name', ['ft', 'mpt'])
def test_the_image_tower_alone_says_what_it_was_adapted_from(world, tmp_path, name):
    out = tmp_path / 'tower.safetensors'
    assert run_tool('export', 'ovseg-clip', world / f'{name}.py', world / f'{name}.pth', out) == 0
    expected = {k: v for k, v in read(world, name).items() if k.startswith('visual.')}
    found = AdaptedCLIP.read(out)
    assert found.state.keys() == expected.keys() | {'logit_scale'}
    assert all(torch.allclose(found.state[k].float(), expected[k], atol=2e-3) for k in expected)
    assert found.has_prompts == (name == 'mpt')
    clip = load_clip(VIT, str(world / 'clip.pt')).model
    clip.visual = MaskPromptedViT(clip.visual, 2)
    found.put_into(clip)
    assert torch.allclose(clip.visual.proj, expected['visual.proj'], atol=2e-3)
    with torch.no_grad():
        clip.text_projection.add_(1)
    with pytest.raises(UserError, match='another text tower'):
        found.put_into(clip)


def test_what_does_not_fit_is_explained(world, tmp_path, capsys):
    out = tmp_path / 'out.pth'
    assert run_tool('export', 'ovseg-clip', world / 'ft.py', world / 'mpt.pth', out) == 2
    assert 'frozen_clip_checksum' in capsys.readouterr().err
    config = ROOT / 'configs/maskclip/maskclip_tiny.py'
    assert run_tool('export', 'ovseg-clip', config, world / 'ft.pth', out) == 2
    assert 'no config of a MaskAdaptation' in capsys.readouterr().err
    words = [world / 'ft.py', world / 'ft.pth', out, '--into']
    assert run_tool('export', 'ovseg-clip', *words, world / 'ft.pth') == 2
    assert "has no 'model'" in capsys.readouterr().err
    tower = tmp_path / 'tower.safetensors'
    assert run_tool('export', 'ovseg-clip', *words[:2], tower, '--into', world / 'ovseg.pth') == 2
    assert 'call OUT .pth' in capsys.readouterr().err
    content = read_checkpoint(world / 'ovseg.pth')
    del content['model'][f'{INSIDE}visual.proj']
    torch.save(content, tmp_path / 'other.pth')
    assert run_tool('export', 'ovseg-clip', *words, tmp_path / 'other.pth') == 2
    assert '1 unexpected (visual.proj)' in capsys.readouterr().err
    assert not out.exists()
