"""A Mask R-CNN of DenseCLIP through the tools, on a few small Scenes in COCO's format."""

from __future__ import annotations

import pytest
import torch
from scripts import ROOT, load_script
from tool_runs import read_result, run_tool

from ovseg.engine import read_checkpoint

CONFIG = ROOT / 'configs' / 'denseclip' / 'mask_rcnn_denseclip_tiny_500_scenes-192x192.py'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp('scenes')
    words = ['--training', '4', '--validation', '2', '--heldout', '0', '--phrases', '0']
    assert load_script('make_scenes').main([str(out), *words, '--instances']) == 0
    return out


@pytest.fixture(scope='module')
def config(tmp_path_factory, data):
    path = tmp_path_factory.mktemp('config') / 'small.py'
    annotations = data / 'annotations'
    path.write_text(
        f'_base_ = {str(CONFIG)!r}\n'
        'model = dict(\n'
        '    train_cfg=dict(rpn_proposal=dict(max_per_img=8), rcnn=dict(sampler=dict(num=8))),\n'
        '    test_cfg=dict(rpn=dict(max_per_img=8), rcnn=dict(score_thr=0.0, max_per_img=3)),\n'
        ')\n'
        'train_cfg = dict(max_iters=2)\n'
        'default_hooks = dict(checkpoint=dict(interval=1))\n'
        f'train_dataloader = dict(batch_size=1, dataset=dict(data_root={str(data)!r}))\n'
        f'test_dataloader = dict(dataset=dict(data_root={str(data)!r}))\n'
        f'test_evaluator = dict(ann_file={str(annotations / "instances_validation.json")!r})\n',
        encoding='utf-8',
    )
    return path


@pytest.fixture(scope='module')
def trained(tmp_path_factory, config):
    work = tmp_path_factory.mktemp('work')
    assert run_tool('train', config, '--work-dir', work) == 0
    return work


def test_a_training_that_goes_on_ends_as_one_that_was_never_interrupted(trained, config, tmp_path):
    assert (
        run_tool('train', config, '--work-dir', tmp_path, '--resume', trained / 'iter_1.pth') == 0
    )
    expected = read_checkpoint(trained / 'iter_2.pth')
    resumed = read_checkpoint(tmp_path / 'iter_2.pth')
    assert expected['meta']['iter'] == resumed['meta']['iter'] == 2
    assert expected['state_dict'].keys() == resumed['state_dict'].keys()
    for name, value in expected['state_dict'].items():
        assert torch.equal(value, resumed['state_dict'][name]), name


def test_ap_of_boxes_and_masks_is_reported_with_the_protocol(trained, config, tmp_path, capsys):
    painted = tmp_path / 'painted'
    # mmengine's visualizer is one a process for each name, and another test may have made it.
    named = ('--cfg-options', 'visualizer.name=detection')
    words = ('--work-dir', tmp_path / 'test', '--show-dir', painted, *named)
    assert run_tool('test', config, trained / 'iter_2.pth', *words) == 0
    result = read_result(tmp_path / 'test')
    assert result['headline'] == 'mask AP'
    assert {'box AP', 'mask AP', 'mask AP_50'} <= set(result['metrics'])
    for kind in ('box', 'mask'):  # a mean over thresholds is not above the loosest one
        assert 0 <= result['metrics'][f'{kind} AP'] <= result['metrics'][f'{kind} AP_50'] < 100
    assert 'box AP ' in capsys.readouterr().out
    assert len(list(painted.rglob('*.png'))) == 2


def test_a_detector_without_weights_is_not_tested(config, capsys):
    assert run_tool('test', config) == 2
    assert 'DenseCLIP_MaskRCNN needs trained weights' in capsys.readouterr().err


def test_label_maps_cannot_be_asked_of_a_detector(trained, config, tmp_path, capsys):
    assert run_tool('test', config, trained / 'iter_2.pth', '--out', tmp_path / 'maps') == 2
    assert '--out needs OVIoUMetric' in capsys.readouterr().err
    assert run_tool('test', config, trained / 'iter_2.pth', '--tta') == 2
    assert 'set tta_pipeline and tta_model' in capsys.readouterr().err


def test_classes_in_another_order_than_the_labels_are_refused(trained, config, tmp_path, capsys):
    names = '[heart,star,ball,donut,flower,fish,mushroom,kite,leaf,target]'
    words = ('--work-dir', tmp_path, '--cfg-options', f'model.vocabulary={names}')
    assert run_tool('test', config, trained / 'iter_2.pth', *words) == 2
    assert "class 0 is 'heart' for the model" in capsys.readouterr().err
