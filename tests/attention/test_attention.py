from __future__ import annotations

import math

import pytest
import torch
from tiny_clip_models import tiny_clip

from ovseg.attention import ATTENTIONS, LAST_BLOCKS, LastBlockSpec, run_block


def by_definition(name, q, k, v):
    if name == 'value':
        return v
    left, right = {'qk': (q, k), 'qq': (q, q), 'kk': (k, k)}[name]
    weights = (left @ right.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
    return weights @ v


@pytest.mark.parametrize('name', sorted(ATTENTIONS))
def test_every_attention_equals_its_formula(name):
    q, k, v = torch.randn(3, 2, 4, 11, 6).unbind(0)
    assert torch.allclose(ATTENTIONS[name][0](q, k, v), by_definition(name, q, k, v), atol=1e-5)


@pytest.mark.parametrize('name', sorted(ATTENTIONS))
def test_every_attention_reads_no_more_than_it_says(name):
    function, reads = ATTENTIONS[name]
    q, k, v = torch.randn(3, 2, 4, 11, 6).unbind(0)
    expected = function(q, k, v)
    hidden = torch.full_like(q, float('nan'))
    ours = function(q if 'q' in reads else hidden, k if 'k' in reads else hidden, v)
    assert torch.equal(ours, expected)


@pytest.mark.parametrize('preset', sorted(LAST_BLOCKS))
def test_every_preset_composes_the_parts_of_the_block(preset):
    spec = LAST_BLOCKS[preset]
    block = tiny_clip('vit').model.visual.transformer.resblocks[-1]
    tokens = torch.randn(2, 7, 32)
    q, k, v = (
        part.unflatten(-1, (4, 8)).transpose(1, 2)
        for part in torch.nn.functional.linear(
            block.ln_1(tokens), block.attn.in_proj_weight, block.attn.in_proj_bias
        ).chunk(3, dim=-1)
    )
    expected = block.attn.out_proj(
        by_definition(spec.attention, q, k, v).transpose(1, 2).flatten(2)
    )
    expected = expected + tokens if spec.residual else expected
    expected = expected + block.mlp(block.ln_2(expected)) if spec.ffn else expected
    assert torch.allclose(run_block(block, tokens, spec).tokens, expected, atol=1e-5)


def test_the_plain_block_is_open_clips_own():
    block = tiny_clip('vit').model.visual.transformer.resblocks[0]
    tokens = torch.randn(2, 7, 32)
    ours = run_block(block, tokens, LastBlockSpec('qk')).tokens
    assert torch.allclose(ours, block(tokens), atol=1e-5)
