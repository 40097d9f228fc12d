"""The parts that OVSeg's training configs are made of say what was released."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from scripts import ROOT
from torch import nn

from ovseg.config_files import read_config
from ovseg.registry import MODELS, PARAM_SCHEDULERS
from ovseg.training.heads import OpenVocabularyMaskFormer

PARTS = ROOT / 'configs' / '_base_'
MODELS_OF = {'swin-b': 768, 'r101c': 512}
SCHEDULES = {'ovseg_120k': (6e-5, 0.01, 1.0), 'ovseg_120k_r101c': (2e-4, 1e-4, 0.1)}
DATA = {'ovseg_coco_stuff164k': 640, 'ovseg_coco_stuff164k_512': 512}


@pytest.fixture(autouse=True)
def _our_scope():
    with DefaultScope.overwrite_default_scope('ovseg'):
        yield


def part(kind, name):
    return read_config(PARTS / kind / f'{name}.py')


@pytest.mark.parametrize('model', MODELS_OF)
def test_the_proposals_fit_the_backbone_and_the_text_space(model):
    config = part('models', f'ovseg_maskformer_{model}').model
    assert config.proposals.embed_dim == MODELS_OF[model]
    small = {
        'swin-b': dict(depths=(1, 1, 1, 1), init_cfg=None),
        'r101c': dict(depth=50),
    }[model]
    config.backbone.update(small)
    backbone = MODELS.build(config.backbone)
    backbone.eval()
    head = MODELS.build({**config.proposals, 'num_layers': 1}).eval()
    with torch.no_grad():
        found = head(backbone(torch.rand(1, 3, 64, 96)), (64, 96))
    assert found.mask_logits.shape == (1, 100, 16, 24)
    assert found.embeddings.shape == (1, 100, MODELS_OF[model])


def test_stem_first_stage_and_all_norms_of_the_resnet_are_frozen():
    config = part('models', 'ovseg_maskformer_r101c').model.backbone
    backbone = MODELS.build({**config, 'depth': 50})
    backbone.train()
    trained = {name for name, value in backbone.named_parameters() if value.requires_grad}
    assert all(name.startswith(('layer2', 'layer3', 'layer4')) for name in trained) and trained
    norms = [(n, m) for n, m in backbone.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and not any(norm.training for _, norm in norms)
    assert not trained & {f'{name}.weight' for name, _ in norms}


class Trainee(nn.Module):
    """The names that matter to the optimizer."""

    def __init__(self, swin):
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.fc = nn.Linear(2, 2)
        if swin:
            self.backbone.norm = nn.LayerNorm(2)
            self.backbone.relative_position_bias_table = nn.Parameter(torch.zeros(2))
        self.proposals = OpenVocabularyMaskFormer(
            (4, 4, 4, 4),
            4,
            **dict.fromkeys(('feat_channels', 'mask_channels', 'hidden_channels'), 4),
            **dict.fromkeys(('num_heads', 'num_layers', 'norm_groups'), 1),
        )
        self.clip = nn.Linear(2, 2).requires_grad_(False)


@pytest.mark.parametrize('name', SCHEDULES)
def test_optimizer_and_its_exceptions(name):
    rate, decay, backbone_factor = SCHEDULES[name]
    config = part('schedules', name)
    model = Trainee(swin=backbone_factor == 1)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    assert wrapper.clip_grad_kwargs == dict(max_norm=0.01, norm_type=2)
    groups = {id(group['params'][0]): group for group in wrapper.param_groups}
    names = {key: groups.get(id(value)) for key, value in model.named_parameters()}
    assert {key for key, group in names.items() if group is None} == {'clip.weight', 'clip.bias'}
    modules = dict(model.named_modules())
    for key, group in names.items():
        if group is None:
            continue
        owner = modules[key.rpartition('.')[0]]
        free = isinstance(owner, nn.LayerNorm | nn.GroupNorm) or any(
            word in key for word in ('query_embed', 'relative_position_bias_table')
        )
        factor = backbone_factor if key.startswith('backbone') else 1
        assert group['weight_decay'] == (0 if free else decay), key
        assert group['lr'] == pytest.approx(rate * factor), key
    assert names['proposals.non_object_embedding']['weight_decay'] == decay


def test_learning_rate_warms_up_and_falls_as_released():
    config = part('schedules', 'ovseg_120k')
    assert config.train_cfg.max_iters == 120000 and config.train_cfg.val_interval == 5000
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedulers = [
        PARAM_SCHEDULERS.build({**step, 'optimizer': optimizer}) for step in config.param_scheduler
    ]
    rates = []
    for _ in range(2001):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    for step in (0, 1, 750, 1499, 1500, 2000):
        warm = min(1.0, 1e-6 * (1 - step / 1500) + step / 1500)
        assert rates[step] == pytest.approx(warm * (1 - step / 120000) ** 0.9, rel=1e-6), step


@pytest.mark.parametrize('name', DATA)
def test_training_images_are_cropped_and_then_padded_with_grey(name):
    side = DATA[name]
    loader = part('datasets', name).train_dataloader
    assert loader.batch_size == 4 and loader.dataset.type == 'COCOStuff164kDataset'
    kinds = [step.type for step in loader.dataset.pipeline]
    assert kinds[2] in ('RandomChoiceResize', 'AntialiasedResize')
    order = ['RandomCrop', 'SSDPhotoMetricDistortion', 'RandomFlip', 'Pad', 'PackSegInputs']
    assert kinds[3:] == order
    steps = [*loader.dataset.pipeline[2:4], *loader.dataset.pipeline[5:]]
    np.random.seed(0)
    sample = {
        'img': np.full((60, 900, 3), 200, np.uint8),
        'gt_seg_map': np.ones((60, 900), np.int32),
        'seg_fields': ['gt_seg_map'],
        'reduce_zero_label': False,
    }
    packed = Compose(steps)(sample)
    image, labels = packed['inputs'], packed['data_samples'].gt_sem_seg.data
    assert image.shape == (3, side, side) and labels.shape == (1, side, side)
    filled = labels[0] == 1
    assert 0 < filled.sum() < side * side
    assert (image[:, filled] == 200).all() and (image[:, ~filled] == 128).all()
    assert (labels[0][~filled] == 255).all()


def test_sizes_are_half_to_twice_the_crop():
    resize = part('datasets', 'ovseg_coco_stuff164k').train_dataloader.dataset.pipeline[2]
    assert resize.scales == [(2560, short) for short in range(320, 1281, 64)]
    fixed = part('datasets', 'ovseg_coco_stuff164k_512').train_dataloader.dataset.pipeline[2]
    assert fixed.scale == (1333, 800)
