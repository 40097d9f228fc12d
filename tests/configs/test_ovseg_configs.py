"""Configs of OVSeg: published settings, words in the order of the labels, and that they run."""

from __future__ import annotations

from functools import partial

import published_ovseg as published
import pytest
import torch
import yaml
from mmengine.registry import DefaultScope
from scripts import ROOT
from tiny_clip_models import VIT

from ovseg.config_files import read_config
from ovseg.engine.vocabulary_check import check_classes
from ovseg.images import Images, ResizeRule, to_batch
from ovseg.registry import DATASETS, MODELS
from ovseg.scenes.draw import draw, whole
from ovseg.scenes.world import sample_scene
from ovseg.vocabulary import build_vocabulary

FOLDER = ROOT / 'configs' / 'ovseg'
WEIGHTS = {'ade20k': 0.7, 'ade847': 0.7, 'context59': 0.6, 'context459': 0.6, 'voc20': 0.45}
# Model -> threshold of masks, longest and shortest side of test images.
PUBLISHED = {'swin-b_vit-l14': (0.4, (2560, 640)), 'r101c_vit-b16': (0.5, (2048, 512))}
MANIFESTS = {
    'swin-b_vit-l14': (published.swin_b_vit_l, 954),
    'r101c_vit-b16': (published.r101c_vit_b, 983),
}
CASES = [(model, data) for model in PUBLISHED for data in WEIGHTS]
SMALL_BACKBONE = dict(
    type='ResNetV1c', depth=18, stem_channels=8, base_channels=4, norm_cfg=dict(type='BN')
)
SMALL_PROPOSALS = dict(
    type='OpenVocabularyMaskFormer',
    in_channels=[4, 8, 16, 32],
    embed_dim=VIT['embed_dim'],
    num_queries=6,
    feat_channels=8,
    mask_channels=8,
    hidden_channels=8,
    num_heads=2,
    feedforward_channels=16,
    num_layers=1,
    class_channels=16,
    norm_groups=2,
)


def config_of(stem):
    return read_config(FOLDER / f'{stem}.py')


def small(config, **changes):
    """The config's model with tiny random networks in it."""
    config.model.clip = dict(model=VIT, pretrained='random')
    config.model.text.update(cache_dir=None, templates='single')
    with DefaultScope.overwrite_default_scope('ovseg'):
        return MODELS.build({**config.model, **changes}).eval()


def test_the_metafile_lists_every_config():
    listed = yaml.safe_load((FOLDER / 'metafile.yaml').read_text(encoding='utf-8'))['Models']
    assert [model['Name'] for model in listed] == sorted(path.stem for path in FOLDER.glob('*.py'))
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text(encoding='utf-8'))
    assert 'configs/ovseg/metafile.yaml' in index['Import']


@pytest.mark.parametrize(('model', 'data'), CASES)
def test_settings_are_the_published_ones(model, data):
    config = config_of(f'ovseg_{model}_{data}')
    threshold, scale = PUBLISHED[model]
    assert config.model.ensemble.weight == WEIGHTS[data]
    assert config.model.regions.threshold == threshold
    assert config.model.mask_prompts == 3
    assert config.model.text.templates == 'vild-14' and config.model.text.combine == 'joined'
    assert tuple(config.test_dataloader.dataset.resize.scale) == scale
    # The published checkpoint brings CLIP.
    assert config.model.clip.pretrained == 'random'


@pytest.mark.parametrize('data', WEIGHTS)
def test_words_stand_in_the_order_of_the_labels(data):
    config = config_of(f'ovseg_r101c_vit-b16_{data}')
    with DefaultScope.overwrite_default_scope('ovseg'):
        classes = DATASETS.get(config.test_dataloader.dataset.type).METAINFO['classes']
    check_classes(build_vocabulary(config.model.vocabulary).names, classes)


@pytest.mark.parametrize('data', ['voc20', 'context59'])
def test_a_config_with_small_networks_labels_an_image(data):
    model = small(
        config_of(f'ovseg_r101c_vit-b16_{data}'),
        backbone=SMALL_BACKBONE,
        proposals=SMALL_PROPOSALS,
        mask_prompts=1,
    )
    model.from_published({f'clip.{name}': value for name, value in model.clip.state_dict().items()})
    with torch.no_grad():
        (encoding,) = model.encode(Images(torch.randn(1, 3, 70, 100)))
        labels = model.segment(encoding, (35, 50)).labels
    assert labels.shape == (35, 50) and labels.min() >= 0 and labels.max() < model.num_classes


def test_the_config_with_sams_masks_names_them_with_small_networks():
    config = config_of('ovseg_sam_vit-l14_images')
    assert config.model.proposals.regions == dict(type='SAMRegions', sam=dict(model='vit_h'))
    config.model.proposals.regions.update(
        sam=dict(model='tiny_sam_scenes'),
        generator=dict(points_per_side=4, pred_iou_thresh=0.0, stability_score_thresh=0.0),
    )
    model = small(config)
    assert model.mask_prompts == 0 and model.reads == {'originals'}
    assert not model.needs_checkpoint(config.model)
    model.set_vocabulary('sky; grass; star')
    scene = sample_scene('val', 0)
    image = draw(scene, whole(scene, 0.5)).image
    inputs = to_batch([image], ResizeRule((96, 64)), model.data_preprocessor)
    (encoding,) = model.encode(Images(inputs, [image]))
    assert encoding.features.valid.sum() >= 2 and encoding.proposals.embeddings is None
    labels = model.segment(encoding, image.shape[:2]).labels
    assert labels.shape == image.shape[:2] and labels.min() >= 0 and labels.max() < 3
    # CLIP alone names them.
    scores = model.score_proposals(encoding, model.classifier)
    assert torch.allclose(scores.scores.sum(1), torch.ones(len(scores.queries)))


@pytest.mark.parametrize('model', PUBLISHED)
def test_the_training_configs_train_on_coco_stuff(model):
    config = config_of(f'ovseg_maskformer_{model}_120k_coco_stuff164k')
    assert len(build_vocabulary(config.model.vocabulary)) == 171
    assert config.train_cfg.max_iters == 120000
    built = small(config, backbone=SMALL_BACKBONE, proposals=SMALL_PROPOSALS)
    trained = {name for name, value in built.named_parameters() if value.requires_grad}
    assert trained and all(name.startswith(('backbone.', 'proposals.')) for name in trained)


@pytest.mark.parametrize('model', PUBLISHED)
def test_the_full_size_model_has_the_names_and_shapes_of_the_published_file(model, monkeypatch):
    # Swin reads its drop rates from a tensor, which the meta device cannot.
    monkeypatch.setattr(torch, 'linspace', partial(torch.linspace, device='cpu'))
    config = config_of(f'ovseg_{model}_context59')
    with torch.device('meta'), DefaultScope.overwrite_default_scope('ovseg'):
        built = MODELS.build(config.model)
    found = {name: tuple(value.shape) for name, value in built.to_published().items()}
    shapes, count = MANIFESTS[model]
    assert len(found) == count
    # One weight a class of the words at hand, and "no object".
    assert found.pop('criterion.empty_weight') == (60,)
    assert found == {k: v for k, v in shapes().items() if k != 'criterion.empty_weight'}


@pytest.mark.parametrize(
    'model', ['ovseg_swin-b_vit-l14', 'ovseg_r101c_vit-b16', 'ovseg_sam_vit-l14']
)
@pytest.mark.parametrize('data', ['ade20k_panoptic', 'coco_panoptic'])
def test_things_are_told_apart_by_the_words_of_the_data_set(model, data):
    config = read_config(FOLDER / f'{model}.py', data)
    dataset = config.test_dataloader.dataset
    facts = DATASETS.get(dataset.type).METAINFO
    vocabulary = build_vocabulary(config.model.vocabulary)
    check_classes(vocabulary.names, facts['classes'])
    assert len(facts['thing_classes']) == {'ade20k_panoptic': 100, 'coco_panoptic': 80}[data]
    assert dataset.resize == config.resize
    assert dataset.get('keep_original', False) == ('sam' in model)
    assert [metric.type for metric in config.test_evaluator] == [
        'PanopticQualityMetric',
        'MaskAPMetric',
    ]
