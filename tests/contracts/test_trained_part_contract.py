"""Backbones, text encoders and heads that train: what segmentors and detectors ask of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import tiny_fcclip
import torch
from registered import build, check_table, classes, half, noise, registered_parts, unchanged
from torch import nn

from ovseg.encoders.dense import TextAlignedFeatures

RESNET = {'layers': (1, 1, 1, 1), 'width': 8, 'output_dim': 12, 'input_resolution': 64}
VIT = {'width': 32, 'layers': 4, 'heads': 4, 'output_dim': 12, 'input_resolution': 64}
VIT = {**VIT, 'out_indices': (0, 1, 2, 3)}
BACKBONES = {
    'CLIPResNet': [RESNET],
    'CLIPResNetWithAttention': [
        RESNET,
        {**RESNET, 'att_level3': True},
        {**RESNET, 'position': 'crop', 'input_resolution': 160},
    ],
    'CLIPVisionTransformer': [
        {**VIT, 'get_embeddings': True},
        VIT,
        {**VIT, 'patch_size': 8, 'get_embeddings': True, 'activation': 'gelu'},
    ],
    'BackboneWithAttentionPool': [
        {
            'backbone': {'type': 'CLIPResNet', '_scope_': 'ovseg', **RESNET},
            'output_dim': 12,
            'input_resolution': 64,
            'in_channels': 256,
        }
    ],
}
CASES = [(name, number) for name, rows in BACKBONES.items() for number in range(len(rows))]
TRANSFORMER = {'transformer_width': 16, 'transformer_heads': 4, 'transformer_layers': 1}


def levels(count):
    """Of a backbone, for images of 64 x 96 pixels."""
    return [
        noise(count, width, 64 // side, 96 // side, seed=side)
        for width, side in zip((4, 4, 8, 8), (4, 8, 16, 32), strict=True)
    ]


# Settings, and what a call takes, of a batch of `count`.
HEADS = {
    'ContextDecoder': (
        {'visual_dim': 12, **TRANSFORMER},
        lambda count: (noise(count, 4, 12), noise(count, 6, 12, seed=1)),
    ),
    'DeepLabV2Module': (
        {'in_channels': 6, 'channels': 5, 'dilations': (1, 2), 'norm_cfg': {'type': 'BN'}},
        lambda count: ([noise(count, 6, 5, 7)],),
    ),
    'IdentityHead': ({}, lambda count: (noise(count, 4, 5, 7),)),
    'MaskCLIPPlusHead': (
        {
            'channels': 5,
            'num_classes': 4,
            'decode_module': {'type': 'DeepLabV2Module', 'in_channels': 6, 'dilations': (1, 2)},
            'cls_bg': True,
        },
        lambda count: ([noise(count, 6, 5, 7)],),
    ),
    'MaskedAttentionHead': (
        {'in_channels': [4, 4, 8, 8], 'embed_dim': 12, **tiny_fcclip.HEAD},
        lambda count: (levels(count), (64, 96)),
    ),
    'OpenVocabularyMaskFormer': (
        {
            'in_channels': [4, 4, 8, 8],
            'embed_dim': 12,
            'num_queries': 6,
            'feat_channels': 16,
            'mask_channels': 16,
            'hidden_channels': 16,
            'num_heads': 2,
            'feedforward_channels': 16,
            'num_layers': 2,
            'class_channels': 16,
            'norm_groups': 4,
        },
        lambda count: (levels(count), (64, 96)),
    ),
}
# The trainings of the small world and of OVSeg's CLIP, by their tests.
TRAININGS = {
    'CLIPContrast': 'tests/scenes/test_clip_contrast.py',
    'ConceptTraining': 'tests/scenes/test_concept_training.py',
    'FoundTraining': 'tests/scenes/test_found.py',
    'MaskAdaptation': 'tests/training/test_mask_adaptation.py',
    'PromptableMasks': 'tests/scenes/test_promptable_masks.py',
    'SelfDistillation': 'tests/scenes/test_self_distillation.py',
    'TaughtContrast': 'tests/scenes/test_taught_contrast.py',
}
# mmdet's, which have no verbs in common with segmentors, by their tests.
DETECTORS = dict.fromkeys(
    ('DenseCLIP_MaskRCNN', 'DenseCLIP_RetinaNet'),
    'tests/training/detectors/test_dense_clip_detectors.py',
)


@cache
def backbone_of(name, number):
    return build(name, **BACKBONES[name][number])


def maps_of(found):
    """All tensors of a call's result, by the part of the image or the word they stand for."""
    if isinstance(found, torch.Tensor):
        return [found]
    if isinstance(found, TextAlignedFeatures):
        return [*found.levels, found.global_embedding, found.dense_embedding]
    parts = vars(found).values() if hasattr(found, '__dataclass_fields__') else found
    return [tensor for part in parts for tensor in maps_of(part)]


def test_every_registered_trained_part_is_here():
    check_table('trained backbone', BACKBONES, 'BACKBONES of this file')
    check_table('head', HEADS, 'HEADS of this file')
    check_table('training', TRAININGS, 'TRAININGS of this file')
    check_table('detector', DETECTORS, 'DETECTORS of this file')
    assert classes('text encoder') == ['CLIPTextContextEncoder']


@pytest.mark.parametrize(('name', 'where'), {**TRAININGS, **DETECTORS}.items())
def test_what_keeps_no_contract_here_has_tests_of_its_own(name, where):
    text = (Path(__file__).parents[2] / where).read_text(encoding='utf-8')
    assert name in text or registered_parts()[name].__name__ in text


@pytest.mark.parametrize('case', CASES)
@torch.no_grad()
def test_any_image_gives_four_levels_each_half_the_one_before(case):
    backbone = backbone_of(*case)
    for size in [(32, 32), (33, 70), (64, 96), (50, 129)]:
        found = backbone(noise(2, 3, *size))
        is_aligned = isinstance(found, TextAlignedFeatures)
        assert is_aligned or isinstance(found, tuple)
        levels = found.levels if is_aligned else found
        assert len(levels) == 4
        for stride, level in zip((4, 8, 16, 32), levels, strict=True):
            assert len(level) == 2 and torch.isfinite(level).all()
            for side, pixels in zip(level.shape[2:], size, strict=True):
                assert abs(side - pixels / stride) <= 2.5, (size, stride)
        if is_aligned:
            assert found.global_embedding.shape == (2, 12)
            assert found.dense_embedding.shape[:2] == (2, 12)
            assert torch.isfinite(found.dense_embedding).all()


@pytest.mark.parametrize('case', CASES)
@torch.no_grad()
def test_an_image_is_seen_alike_alone_and_in_a_batch_and_nothing_changes(case):
    backbone, images = backbone_of(*case), noise(3, 3, 64, 70)
    before = images.clone()
    with unchanged(backbone):
        together = maps_of(backbone(images))
        for index in range(3):
            alone = maps_of(backbone(images[index : index + 1]))
            for theirs, ours in zip(together, alone, strict=True):
                assert torch.allclose(theirs[index], ours[0], atol=1e-4)
    assert torch.equal(images, before)


@pytest.mark.parametrize('case', CASES)
def test_gradients_reach_every_parameter(case):
    backbone = backbone_of(*case)
    backbone.zero_grad()
    found = maps_of(backbone(noise(2, 3, 64, 96)))
    sum(each.square().sum() for each in found).backward()
    missed = [name for name, value in backbone.named_parameters() if value.grad is None]
    assert missed == []
    backbone.zero_grad()


@pytest.mark.parametrize('case', CASES)
@torch.no_grad()
def test_a_backbone_sees_nearly_alike_in_half_precision(case):
    backbone, images = backbone_of(*case), noise(2, 3, 64, 70)
    exact = maps_of(backbone(images))
    with half():
        rough = maps_of(backbone(images))
    for ours, theirs in zip(exact, rough, strict=True):
        assert torch.cosine_similarity(ours.flatten(1), theirs.float().flatten(1)).min() > 0.98


@pytest.mark.parametrize('name', HEADS)
@torch.no_grad()
def test_a_head_answers_alike_alone_and_in_a_batch_and_nothing_changes(name):
    settings, inputs_of = HEADS[name]
    head = build(name, **settings)
    assert isinstance(head, nn.Module)
    together = inputs_of(2)
    kept = [value.clone() for value in maps_of(v for v in together if not _is_size(v))]
    with unchanged(head):
        found = maps_of(head(*together))
        for index in range(2):
            alone = maps_of(head(*(_part(value, index) for value in together)))
            for theirs, ours in zip(found, alone, strict=True):
                assert torch.isfinite(ours).all()
                assert torch.allclose(theirs[index], ours[0], atol=1e-4)
    after = maps_of(v for v in together if not _is_size(v))
    assert all(torch.equal(old, new) for old, new in zip(kept, after, strict=True))


def _is_size(value):
    return isinstance(value, tuple)


def _part(value, index):
    if isinstance(value, torch.Tensor):
        return value[index : index + 1]
    return value if _is_size(value) else [_part(each, index) for each in value]


@torch.no_grad()
def test_a_text_encoder_reads_each_class_by_itself():
    encoder = build(
        'CLIPTextContextEncoder',
        context_length=8,
        transformer_width=16,
        transformer_heads=4,
        transformer_layers=1,
        embed_dim=12,
    )
    tokens = torch.tensor([[49406, 320, 49407, 0], [49406, 1237, 2368, 49407]])
    context = noise(1, 4, 16)
    with unchanged(encoder):
        together = encoder(tokens, context)
        alone = torch.cat([encoder(tokens[i : i + 1], context) for i in range(2)], 1)
    assert together.shape == (1, 2, 12) and torch.isfinite(together).all()
    assert torch.allclose(together, alone, atol=1e-5)
