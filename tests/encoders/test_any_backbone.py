from __future__ import annotations

import pytest
import torch

from ovseg.encoders import BackboneWithAttentionPool
from ovseg.errors import UserError
from ovseg.registry import MODELS

RESNET = dict(
    type='ResNetV1c', depth=18, stem_channels=4, base_channels=4, norm_cfg=dict(type='BN')
)
SWIN = dict(
    type='SwinTransformer',
    embed_dims=8,
    depths=(1, 1, 1, 1),
    num_heads=(1, 1, 2, 2),
    window_size=4,
)


def build(backbone, channels, **settings):
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='BackboneWithAttentionPool',
            _scope_='ovseg',
            backbone=dict(backbone, _scope_='mmseg'),
            **{
                **dict(output_dim=12, input_resolution=64, in_channels=channels, heads=4),
                **settings,
            },
        )
    )


@pytest.mark.parametrize(('inner', 'channels'), [(RESNET, 32), (SWIN, 64)], ids=['resnet', 'swin'])
@torch.no_grad()
def test_levels_are_the_inner_ones_and_the_last_is_embedded(inner, channels):
    model = build(inner, channels).eval()
    assert isinstance(model, BackboneWithAttentionPool)
    image = torch.randn(2, 3, 70, 101)
    levels, found = model.backbone(image), model(image)
    assert len(found.levels) == 4
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found.levels, levels, strict=True))
    embedding, dense = model.attnpool(levels[-1])
    assert torch.equal(found.global_embedding, embedding)
    assert torch.equal(found.dense_embedding, dense)
    assert dense.shape == (2, 12, *levels[-1].shape[2:])


def test_inner_backbone_and_pool_learn_together():
    model = build(RESNET, 32)
    model.init_weights()
    found = model(torch.randn(2, 3, 64, 64))
    (found.dense_embedding.square().mean() + found.global_embedding.square().mean()).backward()
    without = [name for name, value in model.named_parameters() if value.grad is None]
    assert not without


def test_init_weights_brings_the_inner_backbones_own_weights(tmp_path):
    source = build(RESNET, 32).backbone
    with torch.no_grad():
        source.stem[0].weight.fill_(0.25)
    torch.save({'state_dict': source.state_dict()}, tmp_path / 'inner.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'inner.pth'))
    model = build({**RESNET, 'init_cfg': init}, 32)
    pool = model.attnpool.q_proj.weight.clone()
    model.init_weights()
    assert (model.backbone.stem[0].weight == 0.25).all()
    assert torch.equal(model.attnpool.q_proj.weight, pool) and pool.std() > 0


def test_other_channels_than_configured_are_named():
    model = build(RESNET, 16)
    with pytest.raises(UserError, match='ResNetV1c has 32 channels; set backbone.in_channels'):
        model(torch.randn(2, 3, 64, 64))
    with pytest.raises(UserError, match='backbone.heads=5 does not divide the 32 channels'):
        build(RESNET, 32, heads=5)
