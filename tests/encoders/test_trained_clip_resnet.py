from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ovseg.encoders import CLIPResNet, CLIPResNetWithAttention
from ovseg.encoders.dense import TextAlignedFeatures
from ovseg.errors import UserError

TINY = dict(layers=(1, 2, 1, 1), width=8, input_resolution=64)


def seeded(kind=CLIPResNetWithAttention, **settings):
    torch.manual_seed(0)
    model = kind(**{**TINY, **settings})
    for name, value in model.state_dict().items():
        if 'running_mean' in name or name.endswith('.bias'):
            value.normal_(std=0.1)
        elif 'running_var' in name or name.endswith('bn3.weight'):
            value.uniform_(0.5, 1.5)
    return model


def plain_levels(state, layers, image):
    """The modified ResNet, written out with functions."""

    def norm(x, name):
        keys = ('running_mean', 'running_var', 'weight', 'bias')
        return F.batch_norm(x, *(state[f'{name}.{key}'] for key in keys), eps=1e-5)

    def conv(x, name, **settings):
        return F.conv2d(x, state[f'{name}.weight'], **settings)

    x = F.relu(norm(conv(image, 'conv1', stride=2, padding=1), 'bn1'))
    x = F.relu(norm(conv(x, 'conv2', padding=1), 'bn2'))
    x = F.avg_pool2d(F.relu(norm(conv(x, 'conv3', padding=1), 'bn3')), 2)
    levels = []
    for stage, blocks in enumerate(layers, start=1):
        for index in range(blocks):
            block = f'layer{stage}.{index}'
            stride = 2 if stage > 1 and index == 0 else 1
            y = F.relu(norm(conv(x, f'{block}.conv1'), f'{block}.bn1'))
            y = F.relu(norm(conv(y, f'{block}.conv2', padding=1), f'{block}.bn2'))
            y = F.avg_pool2d(y, stride) if stride > 1 else y
            y = norm(conv(y, f'{block}.conv3'), f'{block}.bn3')
            if f'{block}.downsample.0.weight' in state:
                x = F.avg_pool2d(x, stride) if stride > 1 else x
                x = norm(conv(x, f'{block}.downsample.0'), f'{block}.downsample.1')
            x = F.relu(x + y)
        levels.append(x)
    return levels


@pytest.mark.parametrize('kind', [CLIPResNet, CLIPResNetWithAttention])
@pytest.mark.parametrize('size', [(64, 64), (67, 93), (32, 130)])
@torch.no_grad()
def test_levels_are_those_of_the_network_written_out(kind, size):
    model, image = seeded(kind).eval(), torch.randn(2, 3, *size)
    expected = plain_levels(model.state_dict(), TINY['layers'], image)
    found = model(image)
    levels = found if kind is CLIPResNet else found.levels
    assert [level.shape[1] for level in levels] == [32, 64, 128, 256]
    torch.testing.assert_close(list(levels), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_embeddings_come_from_the_attention_pool_on_the_last_level():
    model, image = seeded(output_dim=12).eval(), torch.randn(2, 3, 70, 100)
    found = model(image)
    assert isinstance(found, TextAlignedFeatures)
    assert found.global_embedding.shape == (2, 12)
    assert found.dense_embedding.shape == (2, 12, 2, 3)
    pooled = model.attnpool(found.levels[-1])
    assert torch.equal(found.global_embedding, pooled[0])
    assert torch.equal(found.dense_embedding, pooled[1])


@torch.no_grad()
def test_the_dense_embedding_may_stand_in_the_place_of_the_last_level():
    found = seeded(att_level3=True, output_dim=12).eval()(torch.randn(1, 3, 64, 96))
    assert found.levels[3] is found.dense_embedding
    assert [level.shape[1] for level in found.levels] == [32, 64, 128, 12]


@torch.no_grad()
def test_images_are_brought_to_the_precision_of_the_weights():
    model = seeded(CLIPResNet).eval().bfloat16()
    assert {level.dtype for level in model(torch.randn(1, 3, 64, 64))} == {torch.bfloat16}


def test_batch_norm_trains_and_everything_learns():
    model = seeded(output_dim=12).train()
    before = model.bn1.running_mean.clone()
    found = model(torch.randn(2, 3, 64, 64))
    outputs = (*found.levels, found.global_embedding, found.dense_embedding)
    sum(output.square().mean() for output in outputs).backward()
    assert not torch.equal(model.bn1.running_mean, before)
    assert not [name for name, value in model.named_parameters() if value.grad is None]


def test_bad_settings_say_what_to_set():
    with pytest.raises(UserError, match='backbone.heads=48 does not divide the 256 channels'):
        seeded(heads=48)
    with pytest.raises(UserError, match='backbone.position must be one of'):
        seeded(position='learned')
    with pytest.raises(TypeError, match='style'):  # no setting is silently ignored
        seeded(style='pytorch')


FULL = {
    'RN50': (dict(layers=(3, 4, 6, 3), output_dim=1024), 1024, 5),
    'RN101': (dict(layers=(3, 4, 23, 3), output_dim=512), 512, 22),
}


@pytest.mark.parametrize('name', FULL)
@pytest.mark.parametrize(('resolution', 'rows'), [(512, 257), (1344, 1765)])
def test_names_and_shapes_are_the_published_ones(name, resolution, rows):
    settings, dim, last = FULL[name]
    with torch.device('meta'):
        model = CLIPResNetWithAttention(**settings, input_resolution=resolution)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    batch_norm = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')
    stem = {f'conv{i}.weight' for i in (1, 2, 3)}
    stem |= {f'bn{i}.{part}' for i in (1, 2, 3) for part in batch_norm}
    blocks = {
        f'layer{stage}.{block}.{part}'
        for stage, count in enumerate(settings['layers'], start=1)
        for block in range(count)
        for part in (
            *(f'conv{i}.weight' for i in (1, 2, 3)),
            *(f'bn{i}.{key}' for i in (1, 2, 3) for key in batch_norm),
        )
    }
    shortcuts = {
        f'layer{stage}.0.downsample.{part}'
        for stage in (1, 2, 3, 4)
        for part in ('0.weight', *(f'1.{key}' for key in batch_norm))
    }
    pool = {f'attnpool.{part}_proj.{key}' for part in 'qkvc' for key in ('weight', 'bias')} | {
        'attnpool.positional_embedding'
    }
    assert set(shapes) == stem | blocks | shortcuts | pool
    expected = {
        'conv1.weight': (32, 3, 3, 3),
        'conv2.weight': (32, 32, 3, 3),
        'conv3.weight': (64, 32, 3, 3),
        'layer1.0.downsample.0.weight': (256, 64, 1, 1),
        f'layer3.{last}.conv3.weight': (1024, 256, 1, 1),
        'layer4.2.conv3.weight': (2048, 512, 1, 1),
        'attnpool.positional_embedding': (rows, 2048),
        'attnpool.q_proj.weight': (2048, 2048),
        'attnpool.c_proj.weight': (dim, 2048),
        'attnpool.c_proj.bias': (dim,),
    }
    assert {key: shapes[key] for key in expected} == expected
    assert model.attnpool.num_heads == 32


def test_the_plain_network_has_no_pool():
    with torch.device('meta'):
        model = CLIPResNet(layers=(3, 4, 6, 3))
    assert not [key for key in model.state_dict() if key.startswith('attnpool')]
