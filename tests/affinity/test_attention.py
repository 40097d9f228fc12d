from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tiny_clip_models import tiny_clip

from ovseg.affinity import (
    ATTENTIONS,
    LAST_BLOCKS,
    AttentionContext,
    LastBlockSpec,
    neighbour_bias,
    run_block,
)
from ovseg.affinity.variants import NEEDS_BIAS, TAKES_NO_BIAS
from ovseg.errors import UserError

GRID = (2, 5)


def by_definition(name, q, k, v, bias=0.0, scale=1.0, earlier=(), project=lambda heads: heads):
    if name == 'value':
        return v
    if name.endswith('+earlier'):
        own = by_definition(name.removesuffix('+earlier'), q, k, v, bias, scale)
        flows = [by_definition('qk', queries, keys, v) for queries, keys in earlier]
        return 2.0 * (0.6 * own + 0.4 * torch.stack(flows).mean(0))
    scale = scale / math.sqrt(q.shape[-1])
    if name == 'neighbours':
        lengths = torch.einsum('bhi,bhj->bhij', q.norm(dim=-1), k.norm(dim=-1))
        sharpness = torch.stack([scale * image.mean() for image in lengths])
        return (bias * sharpness[:, None, None, None]).softmax(-1).expand(-1, 4, -1, -1) @ v
    if name == 'scra':
        units = project((q @ k.transpose(-1, -2) * scale).softmax(-1) @ v)
        units = units / units.norm(dim=-1, keepdim=True)
        cosines = units @ units.transpose(-1, -2)
        weights = torch.where(cosines < 0, 0.0, (10 * cosines).exp())
        return weights / weights.sum(-1, keepdim=True) @ v
    pairs = {'qk': [(q, k)], 'qq': [(q, q)], 'kk': [(k, k)], 'vv': [(v, v)]}
    pairs = {**pairs, 'qq+kk': [(q, q), (k, k)]}[name]
    return sum((a @ b.transpose(-1, -2) * scale + bias).softmax(-1) for a, b in pairs) @ v


def context_of(name, scale=1.0, batch=2):
    """With a neighbour bias and earlier blocks for every attention that looks at them."""
    bias = None if name in TAKES_NO_BIAS else neighbour_bias(GRID, 1.5)
    return AttentionContext(bias, scale, earlier_of(name, batch))


def earlier_of(name, batch=2, heads=4, width=6):
    """Queries and keys of two blocks, the same at every call; none for who does not read them."""
    if 'e' not in ATTENTIONS[name][1]:
        return ()
    shape = (2, 2, batch, heads, 11, width)
    made = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    return tuple((queries, keys) for queries, keys in made)


@pytest.mark.parametrize('scale', [1.0, 0.5])
@pytest.mark.parametrize('name', sorted(ATTENTIONS))
def test_every_attention_equals_its_formula(name, scale):
    q, k, v = torch.randn(3, 2, 4, 11, 6).unbind(0)
    context = context_of(name, scale)
    bias = 0.0 if context.bias is None else context.bias
    ours = ATTENTIONS[name][0](q, k, v, context)
    expected = by_definition(name, q, k, v, bias, scale, context.earlier)
    assert torch.allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize('name', sorted(set(ATTENTIONS) - NEEDS_BIAS))
def test_every_attention_equals_its_formula_without_neighbours(name):
    q, k, v = torch.randn(3, 2, 4, 11, 6).unbind(0)
    earlier = earlier_of(name)
    ours = ATTENTIONS[name][0](q, k, v, AttentionContext(earlier=earlier))
    assert torch.allclose(ours, by_definition(name, q, k, v, earlier=earlier), atol=1e-5)


@pytest.mark.parametrize('name', sorted(ATTENTIONS))
def test_every_attention_reads_no_more_than_it_says(name):
    function, reads = ATTENTIONS[name]
    q, k, v = torch.randn(3, 2, 4, 11, 6).unbind(0)
    expected = function(q, k, v, context_of(name))
    hidden = torch.full_like(q, float('nan'))
    ours = function(
        q if 'q' in reads else hidden, k if 'k' in reads else hidden, v, context_of(name)
    )
    assert torch.equal(ours, expected)


@pytest.mark.parametrize('name', sorted(ATTENTIONS))
def test_every_image_of_a_batch_is_attended_by_itself(name):
    q, k, v = torch.randn(3, 3, 4, 11, 6).unbind(0)
    q[1] *= 5
    context = context_of(name, batch=3)
    together = ATTENTIONS[name][0](q, k, v, context)
    for image in range(3):
        part = slice(image, image + 1)
        its = replace(context, earlier=tuple((a[part], b[part]) for a, b in context.earlier))
        alone = ATTENTIONS[name][0](q[part], k[part], v[part], its)
        assert torch.allclose(together[image], alone[0], atol=1e-5)


def test_the_neighbour_bias_falls_with_the_distance_and_spares_the_class_token():
    bias = neighbour_bias((3, 4), 2.0)
    assert bias.shape == (13, 13) and not bias[0].any() and not bias[:, 0].any()
    for first in range(12):
        for second in range(12):
            rows, columns = first // 4 - second // 4, first % 4 - second % 4
            expected = math.exp(-(rows**2 + columns**2) / (2 * 2.0**2))
            assert bias[1 + first, 1 + second].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ('spec', 'message'),
    [
        ({'attention': 'kk', 'neighbour_std': 0.0}, 'neighbour_std must be positive or None'),
        ({'attention': 'value', 'neighbour_std': 5.0}, "'value' looks at no neighbours"),
        ({'attention': 'neighbours'}, "'neighbours' needs last_block.neighbour_std"),
        ({'attention': 'qq', 'scale': 0}, 'scale must be positive'),
        ({'attention': 'qq+qk'}, "Did you mean 'qq.kk'"),
    ],
)
def test_specifications_that_mean_nothing_are_named(spec, message):
    with pytest.raises(UserError, match=message):
        LastBlockSpec(**spec)


@pytest.mark.parametrize('preset', sorted(LAST_BLOCKS))
def test_every_preset_composes_the_parts_of_the_block(preset):
    spec = LAST_BLOCKS[preset]
    block = tiny_clip('vit').model.visual.transformer.resblocks[-1]
    tokens = torch.randn(2, 11, 32)
    bias = None if spec.neighbour_std is None else neighbour_bias(GRID, spec.neighbour_std)
    q, k, v = (
        part.unflatten(-1, (4, 8)).transpose(1, 2)
        for part in torch.nn.functional.linear(
            block.ln_1(tokens), block.attn.in_proj_weight, block.attn.in_proj_bias
        ).chunk(3, dim=-1)
    )
    earlier = earlier_of(spec.attention, width=8)
    mixed = by_definition(
        spec.attention,
        *(q, k, v, 0.0 if bias is None else bias),
        earlier=earlier,
        project=lambda heads: (
            block.attn.out_proj(heads.transpose(1, 2).flatten(2))
            .unflatten(-1, (4, 8))
            .transpose(1, 2)
        ),
    )
    expected = block.attn.out_proj(mixed.transpose(1, 2).flatten(2))
    expected = expected + tokens if spec.residual else expected
    expected = expected + block.mlp(block.ln_2(expected)) if spec.ffn else expected
    ours = run_block(block, tokens, spec, bias=bias, earlier=earlier).tokens
    assert torch.allclose(ours, expected, atol=1e-5)


def test_the_plain_block_is_open_clips_own():
    block = tiny_clip('vit').model.visual.transformer.resblocks[0]
    tokens = torch.randn(2, 7, 32)
    ours = run_block(block, tokens, LastBlockSpec('qk')).tokens
    assert torch.allclose(ours, block(tokens), atol=1e-5)
