"""Blocks of several packages, opened: each rebuilt equals the package's own."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import pytest
import torch
from tiny_timm_towers import TOWERS, timm_tower

from ovseg.affinity import LastBlockSpec, run_block
from ovseg.affinity.opened_blocks import open_block
from ovseg.encoders.towers import open_tower
from ovseg.errors import UserError

GRID = (2, 3)
WIDTH = 32
own_attention = torch.nn.functional.scaled_dot_product_attention
# What stands for the softmax in the package's own block.
REPLACED = {
    'qk': own_attention,
    'value': lambda q, k, v, **_: v,
    'qq': lambda q, k, v, **_: own_attention(q, q, v),
    'kk': lambda q, k, v, **_: own_attention(k, k, v),
}
# transformers: package, layer, configuration, fields of a small one.
LAYERS = {
    'tipsv2': ('Tipsv2VisionLayer', 'Tipsv2VisionConfig', {'layerscale_value': 0.7}),
    'tipsv2, gated': ('Tipsv2VisionLayer', 'Tipsv2VisionConfig', {'use_swiglu_ffn': True}),
    'radio': ('RadioLayer', 'RadioConfig', {'layerscale_value': 0.7}),
    'dinov3_vit': ('DINOv3ViTLayer', 'DINOv3ViTConfig', {'layerscale_value': 0.7}),
    'siglip': ('SiglipEncoderLayer', 'SiglipVisionConfig', {}),
}


def tokens_of(prefix):
    return torch.randn(2, prefix + 6, WIDTH, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize('attention', REPLACED)
@pytest.mark.parametrize('name', TOWERS)
@torch.no_grad()
def test_a_block_of_timm_equals_its_own_with_another_softmax(name, attention, monkeypatch):
    trunk = timm_tower(name)
    block, tower = trunk.blocks[-1], open_tower(trunk)
    tokens, rotation = tokens_of(tower.prefix), tower.rotation(GRID)
    ours = run_block(block, tokens, LastBlockSpec(attention), rotation=rotation).tokens
    monkeypatch.setattr(torch.nn.functional, 'scaled_dot_product_attention', REPLACED[attention])
    theirs = block(tokens) if rotation is None else block(tokens, rope=rotation)
    assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize('attention', REPLACED)
@pytest.mark.parametrize('name', LAYERS)
@torch.no_grad()
def test_a_layer_of_transformers_equals_its_own_with_another_softmax(name, attention, monkeypatch):
    pytest.importorskip('transformers', reason='ovseg[transformers] is not installed')
    package = name.partition(',')[0]
    models = importlib.import_module(f'transformers.models.{package}')
    code = importlib.import_module(f'transformers.models.{package}.modeling_{package}')
    layer_name, config_name, fields = LAYERS[name]
    config = getattr(models, config_name)(
        hidden_size=WIDTH, num_attention_heads=4, num_hidden_layers=1, **fields
    )
    config._attn_implementation = 'sdpa'
    torch.manual_seed(0)
    layer = getattr(code, layer_name)(config).eval()
    for parameter in layer.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    tokens, rotation, more = tokens_of(5), None, {}
    if package == 'dinov3_vit':
        angles = torch.rand(6, 4).repeat(1, 2)
        rotation = angles.cos(), angles.sin()
        more = {'position_embeddings': rotation}
    ours = run_block(layer, tokens, LastBlockSpec(attention), rotation=rotation).tokens
    monkeypatch.setattr(torch.nn.functional, 'scaled_dot_product_attention', REPLACED[attention])
    theirs = layer(tokens, attention_mask=None, **more)
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_a_block_of_another_kind_is_refused():
    with pytest.raises(UserError, match=r'a transformer block is a torch\..*Linear, which cannot'):
        open_block(torch.nn.Linear(2, 2))
    # A block of that name from another place is not taken for timm's.
    stranger = type('Block', (torch.nn.Module,), {'attn': SimpleNamespace()})()
    with pytest.raises(UserError, match='which cannot be run densely'):
        open_block(stranger)
