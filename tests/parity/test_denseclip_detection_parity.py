"""Parity checks of DenseCLIP's detectors, on the reference's box targets and a fabricated case."""

from __future__ import annotations

import pytest
import torch
from scripts import ROOT, run_python

from parity import check_path

TARGETS = ROOT / 'tests' / 'data' / 'denseclip' / 'det_seg_target.pt'


def failed(path):
    """Names of what is not in order in a golden file."""
    (report,) = check_path(path)
    return [line.name for line in report.lines if line.status != 'ok']


def test_box_targets_and_their_loss_agree_with_the_reference():
    (report,) = check_path(TARGETS)
    assert report.passed, report.text()
    assert len(report.lines) == 10


@pytest.mark.parametrize('name', ['target', 'score_map0_over_tau', 'grad_score_map3'])
def test_a_changed_box_target_fails_and_is_named(name, tmp_path):
    content = torch.load(TARGETS, weights_only=True)
    values = content['case1'][name]
    values.flatten()[3] = 1 - values.flatten()[3]
    torch.save(content, tmp_path / TARGETS.name)
    assert failed(tmp_path / TARGETS.name) == [f'case1.{name}']


@pytest.fixture(scope='module')
def case(tmp_path_factory):
    """Files of a case as the golden ones are, made from a random RetinaNet of ours."""
    from parity.denseclip.detection import build_case

    folder = tmp_path_factory.mktemp('case')
    model, stored = build_random(build_case)
    torch.save(stored, folder / 'retina_det_model.pt')
    inputs = {'img': torch.randn(1, 3, 64, 64), 'image_rgb_uint8': torch.zeros(1).byte()}
    torch.save({'inputs': inputs}, folder / 'retina_det_eval.pt')
    torch.save(trained(model, stored, inputs['img']), folder / 'retina_det_train.pt')
    return folder


def build_random(build_case):
    names = ['cat', 'dog']
    config = {
        'type': 'DenseCLIP_RetinaNet',
        'class_names': names,
        'clip_head': False,
        'seg_loss': True,
        'backbone': {
            'type': 'CLIPResNetWithAttention',
            **{'layers': [1] * 4, 'width': 4, 'output_dim': 8, 'input_resolution': 64},
            'style': 'pytorch',
        },
        'text_encoder': {
            'type': 'CLIPTextContextEncoder',
            **{'context_length': 7, 'embed_dim': 8, 'transformer_width': 8},
            **{'transformer_heads': 2, 'transformer_layers': 1},
        },
        'context_decoder': {
            'type': 'ContextDecoder',
            **{'transformer_width': 8, 'transformer_layers': 1, 'visual_dim': 8, 'dropout': 0.0},
        },
        **{'token_embed_dim': 8, 'text_dim': 8},
        'neck': {
            'type': 'FPN',
            **{'in_channels': [16, 32, 64, 130], 'out_channels': 8, 'start_level': 1},
            **{'add_extra_convs': 'on_input', 'num_outs': 5},
        },
        'bbox_head': {
            'type': 'RetinaHead',
            **{'num_classes': 2, 'in_channels': 8, 'feat_channels': 8, 'stacked_convs': 1},
        },
        'train_cfg': {
            'assigner': {'type': 'MaxIoUAssigner', 'pos_iou_thr': 0.5, 'neg_iou_thr': 0.4},
            'allowed_border': -1,
            'pos_weight': -1,
        },
    }
    torch.manual_seed(0)
    shape = (49408, 8)
    stored = {'config': config, 'class_names': names}
    rows = {'ids': torch.arange(0), 'rows': torch.zeros(0, 8), 'shape': list(shape)}
    with pytest.MonkeyPatch.context() as patch:
        # The first one brings the weights that the others load.
        patch.setattr('parity.denseclip.detection.load_case', lambda *_: None)
        model = build_case(stored)
    tokens = model.tokens
    rows['ids'] = tokens.unique()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    rows['rows'] = state.pop('text_encoder.token_embedding.weight')[rows['ids']]
    stored.update(texts=tokens, state_dict=state, token_embedding=rows)
    return build_case(stored), stored


def trained(model, stored, images):
    """What the reference would have written about the training step, reckoned from the parts."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    boxes, labels = torch.tensor([[8.0, 8.0, 40.0, 44.0]]), torch.tensor([1])
    sample = DetDataSample(metainfo={'img_shape': (64, 64), 'pad_shape': (64, 64)})
    sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
    losses = model.train().loss(images, [sample])
    target = torch.zeros(1, 2, 16, 16, dtype=torch.uint8)
    target[0, 1, 2:11, 2:10] = 1
    total = losses['loss_seg'] + sum(losses['loss_cls']) + sum(losses['loss_bbox'])
    total.backward()
    norm = torch.stack([value.grad.norm() for value in model.parameters()]).norm()
    plain = {
        key: [part.item() for part in value] if isinstance(value, list) else value.item()
        for key, value in losses.items()
    }
    key = 'text_encoder.token_embedding.weight[ids]'
    rows = model.text_encoder.token_embedding.weight.grad[stored['token_embedding']['ids']]
    return {
        'inputs': {'img': 'see retina_det_eval.pt', 'gt_bboxes': [boxes], 'gt_labels': [labels]},
        'losses': plain,
        'total_loss': total.item(),
        'seg_target': target,
        'seg_mask': target.amax(1),
        'grads': {'gamma': model.gamma.grad, key: rows},
        'grad_norms': {'all': norm.item()},
        'params_without_grad': [],
    }


@pytest.mark.parametrize('part', ['model', 'train'])
def test_a_case_in_the_form_of_the_golden_ones_is_read_whole(case, part):
    assert failed(case / f'retina_det_{part}.pt') == []


def test_a_changed_loss_a_changed_gradient_and_an_unknown_entry_are_named(case, tmp_path):
    for path in case.glob('*.pt'):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    content = torch.load(case / 'retina_det_train.pt', weights_only=True)
    content['losses']['loss_seg'] += 1e-3
    content['grads']['gamma'][0] += 1
    content['novelty'] = torch.zeros(1)
    torch.save(content, tmp_path / 'retina_det_train.pt')
    wanted = ['losses.loss_seg', 'grads.gamma', 'novelty']
    assert failed(tmp_path / 'retina_det_train.pt') == wanted


def test_checking_segmentation_imports_no_detector():
    done = run_python(
        'import sys\n'
        'from parity.check import SETS, golden_set\n'
        'assert all(golden_set(name).checks for name in SETS)\n'
        "assert not {'ovseg.training.detectors', 'mmdet.datasets', 'mmdet.evaluation'}"
        ' & set(sys.modules)',
        path=ROOT / 'tests',
    )
    assert done.returncode == 0, done.stderr
