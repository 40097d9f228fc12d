from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ovseg.encoders.attention_pool import DenseAttentionPool
from ovseg.errors import UserError


def pool(position='interpolate', **changes):
    torch.manual_seed(0)
    made = DenseAttentionPool(
        **{'side': 3, 'channels': 16, 'heads': 4, 'output_dim': 6, 'position': position, **changes}
    )
    for projection in (made.q_proj, made.k_proj, made.v_proj, made.c_proj):
        torch.nn.init.normal_(projection.bias)
    torch.nn.init.normal_(made.positional_embedding)
    return made


def plain(module, features, table):
    """PyTorch's own multi-head attention over [mean; positions] with the table added."""
    tokens = features.flatten(2).permute(2, 0, 1)
    tokens = torch.cat([tokens.mean(0, keepdim=True), tokens]) + table[:, None]
    found, _ = F.multi_head_attention_forward(
        *(tokens, tokens, tokens, tokens.shape[-1], module.num_heads),
        in_proj_weight=None,
        in_proj_bias=torch.cat([module.q_proj.bias, module.k_proj.bias, module.v_proj.bias]),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=module.c_proj.weight,
        out_proj_bias=module.c_proj.bias,
        use_separate_proj_weight=True,
        q_proj_weight=module.q_proj.weight,
        k_proj_weight=module.k_proj.weight,
        v_proj_weight=module.v_proj.weight,
        need_weights=False,
    )
    height, width = features.shape[2:]
    return found[0], found[1:].permute(1, 2, 0).unflatten(2, (height, width))


def stretched(table, grid):
    planes = table[1:].T.reshape(1, -1, 3, 3)
    planes = F.interpolate(planes, grid, mode='bilinear', align_corners=False)
    return torch.cat([table[:1], planes[0].flatten(1).T])


def cut(table, grid):
    return torch.cat([table[:1], table[1:].reshape(3, 3, -1)[: grid[0], : grid[1]].flatten(0, 1)])


@pytest.mark.parametrize(
    ('position', 'table', 'grid'),
    [
        ('interpolate', stretched, (3, 3)),
        ('interpolate', stretched, (5, 2)),
        ('interpolate', stretched, (1, 7)),
        ('crop', cut, (3, 3)),
        ('crop', cut, (2, 3)),
        ('crop', cut, (1, 1)),
    ],
)
@torch.no_grad()
def test_every_position_attends_to_the_mean_and_all_positions(position, table, grid):
    module = pool(position)
    features = torch.randn(2, 16, *grid)
    expected = plain(module, features, table(module.positional_embedding, grid))
    embedding, dense = module(features)
    assert embedding.shape == (2, 6) and dense.shape == (2, 6, *grid)
    torch.testing.assert_close((embedding, dense), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_the_global_embedding_at_the_trained_size_is_clips_own():
    module = pool()
    features = torch.randn(2, 16, 3, 3)
    clips = super(DenseAttentionPool, module).forward(features)
    torch.testing.assert_close(module(features)[0], clips, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_an_image_is_embedded_the_same_alone_and_in_a_batch():
    module, features = pool(), torch.randn(3, 16, 2, 4)
    whole = module(features)[1]
    torch.testing.assert_close(module(features[1:2])[1], whole[1:2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('position', ['interpolate', 'crop'])
def test_every_parameter_learns(position):
    module = pool(position)
    embedding, dense = module(torch.randn(2, 16, 2, 2))
    (embedding.square().sum() + dense.square().sum()).backward()
    for name, parameter in module.named_parameters():
        # A bias of the keys moves all of a query's scores alike: its gradient is zero, not absent.
        assert parameter.grad is not None, name
        assert name == 'k_proj.bias' or parameter.grad.abs().max() > 0, name


def test_projections_start_as_clips_do():
    module = pool(channels=256, heads=8)
    for projection in (module.q_proj, module.k_proj, module.v_proj, module.c_proj):
        assert projection.weight.std().item() == pytest.approx(256**-0.5, rel=0.1)


def test_bad_settings_say_what_to_set():
    with pytest.raises(UserError, match=r"backbone.position must be one of .*'stretch'"):
        pool('stretch')
    with pytest.raises(UserError, match='backbone.heads=5 does not divide the 16 channels'):
        pool(heads=5)
    with pytest.raises(UserError, match='4 x 2 .*set backbone.input_resolution to 128 or more'):
        pool('crop')(torch.randn(1, 16, 4, 2))
