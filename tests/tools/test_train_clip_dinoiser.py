from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from scripts import ROOT
from tiny_clip_models import VIT
from tool_runs import read_result, run_tool, same
from warm_processes import run_warm

from ovseg.engine import read_checkpoint

PUBLISHED = ROOT / 'configs/clip_dinoiser/clip_dinoiser_vit-b16_laion2b_100e_imagenet1k-448.py'
DINO = {
    'model': {'img_size': 32, 'patch_size': 8, 'embed_dim': 16, 'depth': 2, 'num_heads': 2},
    'pretrained': 'random',
}
EPOCHS = 3


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A flat folder of unlabelled images."""
    folder = tmp_path_factory.mktemp('images')
    random = np.random.default_rng(0)
    for index in range(5):
        image = random.integers(0, 255, (6, 8, 3), np.uint8)
        image = cv2.resize(image, (80, 60), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f'{index}.jpg'), image)
    return folder


def write_config(path, folder, workers=0):
    """The published training, on tiny random towers and crops of 32 pixels."""
    path.write_text(
        f"""
_base_ = {str(PUBLISHED)!r}
model = dict(
    clip=dict(_delete_=True, model={VIT!r}, pretrained={str(path.parent / 'clip.pt')!r}),
    encoder=dict(mlp_input_layer=-2),
    guide=dict(in_channels=32, channels=8),
    teacher=dict(dino=dict(_delete_=True, **{weights('dino', path)!r}),
                 found=dict(dino=dict(_delete_=True, **{weights('dino', path)!r}),
                            decoder={str(path.parent / 'decoder.pt')!r})))
train_cfg = dict(max_epochs={EPOCHS})
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[4], gamma=0.1)]
train_dataloader = dict(
    batch_size=2, num_workers={workers},
    dataset=dict(dataset=dict(
        data_root={str(folder)!r}, count=5, resize=dict(scale=(1000, 40), keep_ratio=True),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='RandomCrop', crop_size=(32, 32)),
                  dict(type='RandomFlip', prob=0.5), dict(type='RandomBrightness'),
                  dict(type='PackSegInputs')])))
default_hooks = dict(checkpoint=dict(interval=1), logger=dict(interval=1))
""",
        encoding='utf-8',
    )
    return path


def weights(name, path):
    return {**DINO, 'pretrained': str(path.parent / f'{name}.pt')}


@pytest.fixture(scope='module')
def towers(tmp_path_factory):
    """Frozen towers in files: every run has the same."""
    from tiny_clip_models import tiny_clip

    from ovseg.encoders.dino import load_dino

    place = tmp_path_factory.mktemp('towers')
    torch.save(tiny_clip('vit').model.state_dict(), place / 'clip.pt')
    torch.save(load_dino(**DINO).model.state_dict(), place / 'dino.pt')
    decoder = {'weight': torch.randn(1, 16, 1, 1), 'bias': torch.zeros(1)}
    torch.save({'decoder': decoder}, place / 'decoder.pt')
    return place


@pytest.fixture
def config(towers, folder):
    return write_config(towers / 'train.py', folder)


def test_a_killed_training_resumes_to_the_same_weights(config, folder, towers, tmp_path):
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    assert run_tool('train', config, '--work-dir', whole) == 0
    expected = read_checkpoint(whole / f'epoch_{EPOCHS}.pth')
    assert sorted(expected['state_dict']) == [
        f'guide.{layer}.{kind}'
        for layer in ('bkg_decoder', 'obj_proj')
        for kind in ('bias', 'weight')
    ]
    assert expected['meta']['iter'] == EPOCHS * 3  # rounds of 2, 2 and 1 images
    # Killed in the middle of the second round: by its own fifth step, without a word.
    killer = tmp_path / 'killer.py'
    killer.write_text(
        'import os, signal, sys\n'
        'from mmengine.runner import Runner\n'
        'from ovseg.segmentors import CLIPDINOiser\n'
        'from ovseg.errors import run_cli\n'
        'loss, steps = CLIPDINOiser.loss, []\n'
        'def counted(self, *args, **kwargs):\n'
        '    steps.append(1)\n'
        '    if len(steps) == 5:\n'
        '        os.kill(os.getpid(), signal.SIGKILL)\n'
        '    return loss(self, *args, **kwargs)\n'
        'CLIPDINOiser.loss = counted\n'
        'from tool_runs import run_tool\n'
        'run_tool("train", *sys.argv[1:])\n',
        encoding='utf-8',
    )
    done = run_warm(killer, config, '--work-dir', parts)
    assert done.returncode == -9, done.stderr[-2000:]
    assert [path.name for path in parts.glob('epoch_*.pth')] == ['epoch_1.pth']
    # Another number of workers changes nothing either.
    again = write_config(towers / 'again.py', folder, workers=1)
    assert run_tool('train', again, '--work-dir', parts, '--resume') == 0
    resumed = read_checkpoint(parts / f'epoch_{EPOCHS}.pth')
    assert same(resumed['state_dict'], expected['state_dict'])
    for step, state in expected['optimizer']['state'].items():
        assert same(resumed['optimizer']['state'][step], state)


def test_a_trained_guide_is_tested_and_exported(config, towers, tmp_path):
    work = tmp_path / 'work'
    options = ('--cfg-options', 'train_cfg.max_epochs=1')
    assert run_tool('train', config, '--work-dir', work, *options) == 0
    checkpoint = work / 'epoch_1.pth'
    for name in ('last.pt', 'guide.safetensors'):
        assert run_tool('export', 'clip-dinoiser', checkpoint, tmp_path / name) == 0
    published = torch.load(tmp_path / 'last.pt', weights_only=True)
    trained = read_checkpoint(checkpoint)['state_dict']
    assert published['epoch'] == 0
    assert same({f'guide.{k}': v for k, v in published['model_state_dict'].items()}, trained)
    test = tmp_path / 'test.py'
    test.write_text(
        f'_base_ = [{str(ROOT / "configs/_base_/models/clip_dinoiser_vit-b16_laion2b.py")!r},\n'
        f'          {str(ROOT / "configs/_base_/datasets/scenes.py")!r},\n'
        f'          {str(ROOT / "configs/_base_/default_runtime.py")!r}]\n'
        f'model = dict(clip=dict(_delete_=True, model={VIT!r},\n'
        f'                       pretrained={str(towers / "clip.pt")!r}),\n'
        '             encoder=dict(mlp_input_layer=-2), guide=dict(in_channels=32, channels=8),\n'
        '             test_cfg=dict(crop_size=(32, 32), stride=(32, 32)),\n'
        "             text=dict(cache_dir=None, templates='single'),\n"
        f'             vocabulary={[f"thing {i}" for i in range(17)]!r})\n'
        'custom_hooks = []\n'
        'test_dataloader = dict(dataset=dict(num_scenes=2, size=(64, 64)))\n',
        encoding='utf-8',
    )
    scores = []
    for index, name in enumerate(('work/epoch_1.pth', 'last.pt')):
        out = tmp_path / f'test{index}'
        assert run_tool('test', test, tmp_path / name, '--work-dir', out) == 0
        scores.append(read_result(out)['metrics'])
    assert scores[0] == scores[1]


def test_a_file_without_the_two_layers_is_not_exported(tmp_path, capsys):
    torch.save({'state_dict': {'head.weight': torch.zeros(1)}}, tmp_path / 'other.pth')
    assert run_tool('export', 'clip-dinoiser', tmp_path / 'other.pth', tmp_path / 'out.pt') == 2
    assert 'holds head.weight, not the two layers' in capsys.readouterr().err
    assert run_tool('export', 'clip-dinoiser', tmp_path / 'other.pth', tmp_path / 'out.bin') == 2
    assert not (tmp_path / 'out.pt').exists()


def test_a_guide_without_weights_is_not_tested(config, tmp_path, capsys):
    test = tmp_path / 'test.py'
    test.write_text(
        f'_base_ = {str(ROOT / "configs/clip_dinoiser/clip_dinoiser_vit-b16_laion2b.py")!r}\n'
        'model = dict(guide=dict(weights=None))\n',
        encoding='utf-8',
    )
    assert run_tool('test', test) == 2
    assert 'CLIPDINOiser needs trained weights and none were given' in capsys.readouterr().err
