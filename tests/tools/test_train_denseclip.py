from __future__ import annotations

import shutil

import pytest
import torch
from scripts import load_script
from tool_runs import (
    ROOT,
    check_equal,
    free_port,
    read_result,
    read_scalars,
    run_tool,
    unmoved,
)
from warm_processes import run_ranks

from ovseg import OpenVocabSegmenter
from ovseg.engine import read_checkpoint
from ovseg.errors import UserError

image_demo = load_script('image_demo', 'demo')
CONFIG = ROOT / 'configs' / 'denseclip' / 'denseclip_fpn_tiny_600_scenes-192x192.py'
STEPS = 4


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    """The tiny DenseCLIP on few small scenes, with dropout and transforms that draw numbers."""
    path = tmp_path_factory.mktemp('denseclip') / 'denseclip.py'
    path.write_text(
        f"""
_base_ = {str(CONFIG)!r}
resize = dict(scale=(64, 64), keep_ratio=True)
model = dict(backbone=dict(drop_path_rate=0.2), context_decoder=dict(dropout=0.3))
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        num_scenes=8,
        resize=resize,
        pipeline=[
            dict(type='LoadScene'),
            dict(type='LoadSceneLabels'),
            dict(type='RandomCrop', crop_size=(48, 48)),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PhotoMetricDistortion'),
            dict(type='PackSegInputs'),
        ],
    ),
)
val_dataloader = dict(dataset=dict(num_scenes=3, resize=dict(_delete_=True, **resize)))
test_dataloader = dict(dataset=dict(num_scenes=3, resize=dict(_delete_=True, **resize)))
train_cfg = dict(max_iters={STEPS}, val_interval=2)
default_hooks = dict(
    checkpoint=dict(interval=1, max_keep_ckpts=-1), logger=dict(interval=1)
)
""",
        encoding='utf-8',
    )
    return path


@pytest.fixture(scope='module')
def whole(config, tmp_path_factory):
    """The folder of a training that nothing interrupted."""
    folder = tmp_path_factory.mktemp('whole')
    # A visualizer of its own: mmengine's is one a process and writes to the first run's folder.
    options = ('--cfg-options', 'visualizer.name=whole')
    assert run_tool('train', config, '--work-dir', folder, *options) == 0
    return folder


def test_a_resumed_training_equals_an_uninterrupted_one_bit_by_bit(config, whole, tmp_path):
    # As if the run had been killed after its second iteration.
    parts = tmp_path / 'parts'
    parts.mkdir()
    shutil.copy(whole / 'iter_2.pth', parts)
    (parts / 'last_checkpoint').write_text(str(parts / 'iter_2.pth'))
    assert run_tool('train', config, '--work-dir', parts, '--resume') == 0
    expected = read_checkpoint(whole / f'iter_{STEPS}.pth')
    resumed = read_checkpoint(parts / f'iter_{STEPS}.pth')
    assert expected['optimizer']['state']
    for part in ('state_dict', 'optimizer'):
        check_equal(resumed[part], expected[part])


def test_everything_but_the_text_encoder_moves(whole):
    first, last = (read_checkpoint(whole / f'iter_{n}.pth')['state_dict'] for n in (1, STEPS))
    assert unmoved(first, last) == {name for name in first if name.startswith('text_encoder.')}
    assert all(value.isfinite().all() for value in last.values() if value.is_floating_point())


def test_all_losses_are_logged_and_validation_keeps_the_best_checkpoint(whole):
    lines = read_scalars(whole)
    losses = [line for line in lines if 'loss' in line]
    assert len(losses) == STEPS
    for key in ('decode.loss_ce', 'aux_identity.loss_ce'):
        assert all(line[key] > 0 for line in losses)
    validations = [line for line in lines if 'mIoU' in line]
    assert [line['step'] for line in validations] == [2, STEPS]
    best = max(validations, key=lambda line: line['mIoU'])
    (kept,) = whole.glob('best_mIoU_iter_*.pth')
    assert kept.name == f'best_mIoU_iter_{best["step"]}.pth'


def test_the_best_checkpoint_is_tested_as_it_was_validated(config, whole, tmp_path):
    (kept,) = whole.glob('best_mIoU_iter_*.pth')
    assert run_tool('test', config, kept, '--work-dir', tmp_path) == 0
    result = read_result(tmp_path)
    best = max(line['mIoU'] for line in read_scalars(whole) if 'mIoU' in line)
    assert result['metrics']['mIoU'] == pytest.approx(best, abs=0.01)
    assert result['protocol']['model']['prompting'] == 'post'


def test_the_demo_and_the_python_interface_take_the_trained_model(config, whole, tmp_path, capsys):
    image, checkpoint = ROOT / 'demo' / 'scene.png', str(whole / f'iter_{STEPS}.pth')
    words = [str(image), 'sky; grass; star', '--model', str(config), '--out-dir', str(tmp_path)]
    assert image_demo.main([*words, '--checkpoint', checkpoint]) == 0
    assert len(list(tmp_path.glob('scene*'))) == 3
    words[1] = 'sky; elephant'
    assert image_demo.main([*words, '--checkpoint', checkpoint]) == 2
    assert "'elephant' is none of them" in capsys.readouterr().err
    segment = OpenVocabSegmenter(config, checkpoint, device='cpu')
    result = segment(image, 'sky; grass; star', scores=True)
    assert result.labels.shape == result.image.shape[:2] and result.labels.max() <= 2
    assert result.scores.shape[0] == 3
    assert len(segment(image).names) == 17
    with pytest.raises(UserError, match="'elephant' is none of them"):
        segment(image, 'elephant')


def test_a_checkpoint_needs_no_clip_and_a_fresh_start_names_what_is_missing(
    config, whole, tmp_path, capsys
):
    gone = ('--cfg-options', f'model.pretrained={tmp_path / "gone.pt"}')
    assert run_tool('train', config, '--work-dir', tmp_path / 'fresh', *gone) != 0
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: ') and f'{tmp_path / "gone.pt"} does not exist' in error
    start = whole / f'iter_{STEPS - 1}.pth'
    assert run_tool('train', config, '--work-dir', tmp_path, '--resume', start, *gone) == 0
    resumed, expected = (
        read_checkpoint(folder / f'iter_{STEPS}.pth')['state_dict'] for folder in (tmp_path, whole)
    )
    assert all(torch.equal(resumed[name], value) for name, value in expected.items())


def test_tensorboard_is_written_when_asked_for(config, tmp_path):
    pytest.importorskip('tensorboard')
    backend = "visualizer.vis_backends=[{'type': 'TensorboardVisBackend'}]"
    options = ('--cfg-options', backend, 'visualizer.name=board', 'train_cfg.max_iters=1')
    assert run_tool('train', config, '--work-dir', tmp_path, *options) == 0
    assert list(tmp_path.rglob('events.out.tfevents.*'))


def test_two_processes_train_and_test_one_model(config, tmp_path):
    work = tmp_path / 'work'
    options = ('train_cfg.max_iters=2', 'train_cfg.val_interval=100')
    words = (config, '--work-dir', work, '--cfg-options', *options)
    for done in run_ranks(ROOT / 'tools' / 'train.py', 2, *words, port=free_port()):
        assert done.returncode == 0 and 'Traceback' not in done.stderr, done.stderr[-3000:]
    checkpoint = work / 'iter_2.pth'
    assert read_checkpoint(checkpoint)['meta']['iter'] == 2
    words = (config, checkpoint, '--work-dir', tmp_path / 'two')
    for done in run_ranks(ROOT / 'tools' / 'test.py', 2, *words, port=free_port()):
        assert done.returncode == 0, done.stderr[-3000:]
    assert run_tool('test', config, checkpoint, '--work-dir', tmp_path / 'one') == 0
    assert read_result(tmp_path / 'two')['metrics'] == pytest.approx(
        read_result(tmp_path / 'one')['metrics']
    )
