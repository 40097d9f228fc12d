"""The MaskFormer of OVSeg is trained through the tools, on some of Scenes' classes."""

from __future__ import annotations

import shutil

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
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

from ovseg.engine import read_checkpoint
from ovseg.registry import DATASETS, MODELS

CONFIG = ROOT / 'configs' / 'ovseg' / 'ovseg_maskformer_tiny_scenes.py'
STEPS = 4


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    """The tiny MaskFormer, narrower, on few small scenes, with dropout and random transforms."""
    path = tmp_path_factory.mktemp('ovseg') / 'maskformer.py'
    path.write_text(
        f"""
_base_ = {str(CONFIG)!r}
model = dict(
    # Norms that start at zero would hold back what comes before them for the first steps.
    backbone=dict(stem_channels=8, base_channels=8, zero_init_residual=False),
    proposals=dict(in_channels=[8, 16, 32, 64], num_layers=2, dropout=0.3),
    text=dict(cache_dir=None),
)
train_dataloader = dict(batch_size=2, dataset=dict(num_scenes=8, size=(64, 64)))
val_dataloader = dict(dataset=dict(num_scenes=2))
train_cfg = dict(max_iters={STEPS}, val_interval={STEPS})
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=-1), logger=dict(interval=1))
""",
        encoding='utf-8',
    )
    return path


@pytest.fixture(scope='module')
def whole(config, tmp_path_factory):
    """The folder of a training that nothing interrupted."""
    folder = tmp_path_factory.mktemp('whole')
    # A visualizer of its own: mmengine's is one a process and writes to the first run's folder.
    options = ('--cfg-options', 'visualizer.name=whole_ovseg')
    assert run_tool('train', config, '--work-dir', folder, *options) == 0
    return folder


def test_a_resumed_training_equals_an_uninterrupted_one_bit_by_bit(config, whole, tmp_path):
    # As if the run had been killed after its second iteration.
    shutil.copy(whole / 'iter_2.pth', tmp_path)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_2.pth'))
    assert run_tool('train', config, '--work-dir', tmp_path, '--resume') == 0
    expected, resumed, before = (
        read_checkpoint(path)
        for path in (
            whole / f'iter_{STEPS}.pth',
            tmp_path / f'iter_{STEPS}.pth',
            whole / 'iter_2.pth',
        )
    )
    for part in ('state_dict', 'optimizer', 'param_schedulers'):
        check_equal(resumed[part], expected[part])
    name = 'proposals.non_object_embedding'
    assert not torch.equal(before['state_dict'][name], expected['state_dict'][name])


def test_a_checkpoint_holds_what_is_trained_and_all_of_it_moves(whole):
    first, last = (read_checkpoint(whole / f'iter_{n}.pth')['state_dict'] for n in (1, STEPS))
    assert {name.split('.')[0] for name in last} == {'backbone', 'proposals'}
    assert not unmoved(first, last)
    assert all(value.isfinite().all() for value in last.values())


def test_training_and_validation_know_the_classes_of_the_part_only(config, whole, tmp_path):
    settings = Config.fromfile(config)
    lines = read_scalars(whole)
    losses = [line for line in lines if 'loss' in line]
    assert len(losses) == STEPS
    for key in ('loss_cls', 'loss_mask', 'loss_dice', 'd0.loss_cls'):
        assert all(line[key] > 0 for line in losses)
    with DefaultScope.overwrite_default_scope('ovseg'):
        model = MODELS.build(settings.model)
        data = DATASETS.build(settings.train_dataloader.dataset)
    assert list(model.vocabulary.names) == data.metainfo['classes'] == settings.seen
    shown = torch.cat([data[i]['data_samples'].gt_sem_seg.data.unique() for i in range(len(data))])
    # What is left of a label map are places in the list of eleven, and 255.
    assert set(shown.tolist()) - {255} <= set(range(11)) and len(shown.unique()) > 5
    assert model.num_classes == 11
    (validation,) = [line for line in lines if 'mIoU' in line]
    validated = tmp_path / 'validated.py'
    validated.write_text(
        f'_base_ = {str(config)!r}\ntest_dataloader = {{{{_base_.val_dataloader}}}}\n'
    )
    checkpoint = whole / f'iter_{STEPS}.pth'
    assert run_tool('test', validated, checkpoint, '--work-dir', tmp_path / 'test') == 0
    assert validation['mIoU'] == pytest.approx(
        read_result(tmp_path / 'test')['metrics']['mIoU'], abs=0.006
    )


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_one_with_all_images(config, tmp_path):
    """Gradients are averaged, and mask losses divided by the mean number of classes an image set.

    So both sum over all masks, whichever process has them. (The class loss has a mean of its own in
    each process, as released, and is left out here.)
    """
    path = tmp_path / 'fixed.py'
    path.write_text(
        f"""
_base_ = {str(config)!r}
model = dict(backbone=dict(norm_eval=True), proposals=dict(dropout=0.0, class_weight=0.0))
train_dataloader = dict(
    sampler=dict(shuffle=False),
    dataset=dict(
        seed=3,  # pictures of two and of four classes
        pipeline=[
            dict(type='LoadScene'), dict(type='LoadSceneLabels'), dict(type='PackSegInputs')
        ],
    ),
)
optim_wrapper = dict(
    _delete_=True, type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9)
)
param_scheduler = []
train_cfg = dict(max_iters=1, val_interval=100)
""",
        encoding='utf-8',
    )
    settings = Config.fromfile(path)
    with DefaultScope.overwrite_default_scope('ovseg'):
        data = DATASETS.build(settings.train_dataloader.dataset)
    counts = [
        len(set(data[i]['data_samples'].gt_sem_seg.data.unique().tolist()) - {255}) for i in (0, 1)
    ]
    assert counts[0] != counts[1]  # else dividing by one's own number would go unnoticed
    assert run_tool('train', path, '--work-dir', tmp_path / 'one') == 0
    words = (path, '--work-dir', tmp_path / 'two')
    words += ('--cfg-options', 'train_dataloader.batch_size=1')
    for done in run_ranks(ROOT / 'tools' / 'train.py', 2, *words, port=free_port()):
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = (
        read_checkpoint(tmp_path / name / 'iter_1.pth')['optimizer']['state']
        for name in ('one', 'two')
    )
    assert one.keys() == two.keys() and one
    # After one step the momentum is the gradient.
    for key, state in one.items():
        gradient = state['momentum_buffer']
        scale = float(gradient.abs().max())
        torch.testing.assert_close(
            two[key]['momentum_buffer'], gradient, rtol=1e-3, atol=1e-3 * scale + 1e-9
        )
    assert max(float(state['momentum_buffer'].abs().max()) for state in one.values()) > 1e-3
