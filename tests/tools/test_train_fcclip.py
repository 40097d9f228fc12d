"""FC-CLIP and MAFT+ are trained through the tools, on segments of some of Scenes' classes."""

from __future__ import annotations

import shutil

import pytest
import torch
from miniatures import make_miniature
from mmengine.config import Config
from mmengine.registry import DefaultScope
from short_trainings import train
from tool_runs import ROOT, check_equal, free_port, read_scalars, run_tool, unmoved
from warm_processes import run_ranks

from ovseg.config_files import read_config
from ovseg.encoders.clip import build_architecture
from ovseg.engine import read_checkpoint
from ovseg.registry import DATASETS

CONFIGS = {
    'fcclip': ROOT / 'configs' / 'fcclip' / 'fcclip_tiny_scenes.py',
    'maftplus': ROOT / 'configs' / 'maftplus' / 'maftplus_tiny_scenes.py',
}
STEPS = 4
NARROW = """
_base_ = {base!r}
model = dict(
    clip=dict(_delete_=True, model={clip!r}, pretrained={weights!r}),
    proposals={head!r},
    text=dict(cache_dir=None),
)
train_dataloader = dict(batch_size=2, dataset=dict(num_scenes=8, size=(128, 128)))
val_dataloader = dict(dataset=dict(num_scenes=2))
train_cfg = dict(max_iters={steps}, val_interval={steps})
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=-1), logger=dict(interval=1))
"""
HEAD = {
    'num_queries': 6,
    'channels': 16,
    'num_heads': 2,
    'num_layers': 2,
    'feedforward_channels': 16,
    'pixel_layers': 1,
    'pixel_feedforward': 16,
    'norm_groups': 4,
    'num_points': 64,
}
CLIP = {
    'embed_dim': 16,
    'vision_cfg': {
        'timm_model_name': 'convnext_scenes',
        'timm_pool': '',
        'timm_proj': 'linear',
        'image_size': 64,
    },
    'text_cfg': {'context_length': 20, 'vocab_size': 49408, 'width': 16, 'heads': 2, 'layers': 1},
}


@pytest.fixture(scope='module', params=list(CONFIGS))
def training(request, tmp_path_factory):
    """The name of a method, its config made narrow, and the folder of a whole training."""
    name = request.param
    folder = tmp_path_factory.mktemp(name)
    # A file: a checkpoint of a decoder is of no use with a CLIP that is random each time.
    path, weights = folder / f'{name}.py', str(folder / 'clip.pth')
    torch.save(build_architecture(CLIP).state_dict(), weights)
    text = NARROW.format(
        base=str(CONFIGS[name]), clip=CLIP, weights=weights, head=HEAD, steps=STEPS
    )
    path.write_text(text, encoding='utf-8')
    folder = tmp_path_factory.mktemp('whole')
    # A visualizer of its own: mmengine's is one a process and writes to the first run's folder.
    options = ('--cfg-options', f'visualizer.name=whole_{name}')
    assert run_tool('train', path, '--work-dir', folder, *options) == 0
    return name, path, folder


def test_a_resumed_mask_training_equals_an_uninterrupted_one(training, tmp_path):
    _, config, whole = training
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
    name = 'proposals.query_feat.weight'
    assert not torch.equal(before['state_dict'][name], expected['state_dict'][name])


def test_only_what_trains_is_saved_and_all_of_it_moves(training):
    name, _, whole = training
    first, last = (read_checkpoint(whole / f'iter_{n}.pth')['state_dict'] for n in (1, STEPS))
    parts = {'.'.join(key.split('.')[:2]) for key in last if not key.startswith('proposals.')}
    tuned = {key.split('.')[3] for key in last if key.startswith('clip.')}
    if name == 'fcclip':
        assert not parts
    else:
        assert {part.split('.')[0] for part in parts} == {'clip', 'transfer'}
        assert tuned == {'stem', 'stages'}
    assert not unmoved(first, last)
    assert all(value.isfinite().all() for value in last.values())
    lines = read_scalars(whole)
    losses = [line for line in lines if 'loss' in line]
    kinds = ('loss_cls', 'loss_mask', 'loss_dice', 'd0.loss_cls')
    kinds += ('loss_ranking', 'loss_compensation') if name == 'maftplus' else ()
    assert len(losses) == STEPS
    # The student begins as its teacher, and nothing is to be compensated yet.
    assert all(line[key] > 0 for key in kinds for line in losses[1:])
    (validation,) = [line for line in lines if 'PQ' in line]
    assert 0 <= validation['PQ'] <= 100


def test_the_loss_of_pictures_that_are_seen_again_falls(training, tmp_path):
    name, config, _ = training
    path = tmp_path / 'again.py'
    path.write_text(
        f"""
_base_ = {str(config)!r}
train_dataloader = dict(dataset=dict(num_scenes=2))
optim_wrapper = dict(optimizer=dict(lr=3e-3))
param_scheduler = []
train_cfg = dict(max_iters=24, val_interval=100)
default_hooks = dict(checkpoint=dict(interval=24))
visualizer = dict(name='again_{name}')
""",
        encoding='utf-8',
    )
    assert run_tool('train', path, '--work-dir', tmp_path) == 0
    losses = [line['loss'] for line in read_scalars(tmp_path) if 'loss' in line]
    assert len(losses) == 24
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])


def test_the_panoptic_training_of_coco_steps_on_a_miniature(tmp_path):
    make_miniature('coco_panoptic', tmp_path)
    (tmp_path / 'val2017').rename(tmp_path / 'train2017')
    for end in ('.json', ''):
        path = tmp_path / 'annotations' / f'panoptic_val2017{end}'
        path.rename(path.with_name(f'panoptic_train2017{end}'))
    config = read_config('fcclip_convnext-l_8xb2_368k_coco_panoptic')
    config.work_dir = str(tmp_path / 'work')
    config.log_level = 'ERROR'
    config.model.clip = {'model': CLIP, 'pretrained': 'random'}
    config.model.proposals.update(HEAD)
    config.model.text = {'templates': 'single', 'combine': 'max', 'cache_dir': None}
    loader = config.train_dataloader
    loader.update(num_workers=0, persistent_workers=False)
    loader.dataset.data_root = str(tmp_path)
    for step in loader.dataset.pipeline:
        for key in ('scale', 'crop_size', 'size'):
            if key in step:
                step[key] = (128, 128)
    config.optim_wrapper.type = 'OptimWrapper'  # mixed precision wants a GPU
    config.train_cfg.max_iters = 2
    config.default_hooks.logger.interval = 1
    runner = train(config, 'coco', val_dataloader=None, val_cfg=None, val_evaluator=None)
    assert runner.iter == 2 and runner.model.num_classes == 133
    saved = read_checkpoint(tmp_path / 'work' / 'iter_2.pth')['state_dict']
    assert saved and all(name.startswith('proposals.') for name in saved)
    assert all(value.isfinite().all() for value in saved.values())
    # Segments of the miniature were there to learn from: a class that is none counts a tenth.
    losses, _ = runner.message_hub.get_scalar('train/loss_mask').data
    assert all(losses > 0)


@pytest.mark.slow
def test_two_processes_train_masks_as_one_does(training, tmp_path):
    """Gradients of two processes with an image each are those of one with both.

    Mask losses are divided by the mean number of segments of a process. (The class loss and MAFT+'s
    ranking have means of their own in each, as released: both are left out here.)
    """
    name, config, _ = training
    path = tmp_path / 'fixed.py'
    path.write_text(
        f"""
_base_ = {str(config)!r}
model = dict(proposals=dict(class_weight=0.0))
custom_imports = dict(imports=['ovseg', 'ovseg.registry', 'same_points'])
custom_hooks = [dict(type='SamePointsHook')]
train_dataloader = dict(
    sampler=dict(shuffle=False),
    dataset=dict(
        seed=3,
        pipeline=[
            dict(type='LoadPanopticScene'),
            dict(type='SegmentNumbers'),
            dict(type='PackSegInputs', meta_keys=('img_path', 'segment_labels')),
        ],
    ),
)
optim_wrapper = dict(
    _delete_=True, type='OptimWrapper', optimizer=dict(type='SGD', lr=1e4)
)
param_scheduler = []
train_cfg = dict(max_iters=1, val_interval=100)
"""
    )
    settings = Config.fromfile(path)
    with DefaultScope.overwrite_default_scope('ovseg'):
        data = DATASETS.build(settings.train_dataloader.dataset)
    counts = [len(data[i]['data_samples'].segment_labels) for i in (0, 1)]
    assert counts[0] != counts[1]  # else dividing by one's own number would go unnoticed
    assert run_tool('train', path, '--work-dir', tmp_path / 'one') == 0
    words = (path, '--work-dir', tmp_path / 'two')
    words += ('--cfg-options', 'train_dataloader.batch_size=1')
    for done in run_ranks(ROOT / 'tools' / 'train.py', 2, *words, port=free_port()):
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = (
        read_checkpoint(tmp_path / which / 'iter_1.pth')['state_dict'] for which in ('one', 'two')
    )
    assert one.keys() == two.keys()
    compared = [key for key in one if key.startswith('proposals.')]
    assert compared and (name == 'maftplus' or len(compared) == len(one))
    # The step is so long that hardly anything of the start is left.
    for key in compared:
        scale = float(one[key].abs().max())
        torch.testing.assert_close(two[key], one[key], rtol=2e-3, atol=2e-3 * scale)
    assert max(float(one[key].abs().max()) for key in compared) > 100
