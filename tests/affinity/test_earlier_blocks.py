"""Queries and keys of earlier blocks, and numbers of its own, offered to the last attention."""

from __future__ import annotations

import math

import pytest
import torch
from largest_tensor import LargestTensor
from tiny_clip_models import tiny_clip

from ovseg.affinity import ATTENTIONS, LAST_BLOCKS, LastBlockSpec, last_block_spec
from ovseg.affinity.variants import NO_CONTEXT, query_key
from ovseg.encoders import build_dense_encoder
from ovseg.errors import UserError


def earlier_alone(q, k, v, context=NO_CONTEXT, *, share=0.5, times=1.0):
    """A toy: what the earlier blocks let flow, times two numbers."""
    return share * times * sum(query_key(*pair, v) for pair in context.earlier)


def own_alone(q, k, v, context=NO_CONTEXT):
    assert not context.earlier
    return query_key(q, k, v, context)


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setitem(ATTENTIONS, 'toy', (earlier_alone, 'e'))
    monkeypatch.setitem(ATTENTIONS, 'own', (own_alone, 'qk'))


def plain(visual, encoder, image, blocks, share):
    """The toy's features from the attention matrices that torch's own attention gives."""
    tokens, _ = encoder.embed(image)
    matrices = []
    for block in visual.transformer.resblocks[:-1]:
        normed = block.ln_1(tokens)
        _, weights = block.attn(
            normed, normed, normed, need_weights=True, average_attn_weights=False
        )
        matrices.append(weights)
        tokens = block(tokens)
    last = visual.transformer.resblocks[-1]
    value = last.attn.in_proj_weight[2 * tokens.shape[-1] :]
    bias = last.attn.in_proj_bias[2 * tokens.shape[-1] :]
    v = (last.ln_1(tokens) @ value.T + bias).unflatten(-1, (4, 8)).transpose(1, 2)
    mixed = share * sum(matrices[number - 1] @ v for number in blocks)
    out = last.attn.out_proj(mixed.transpose(1, 2).flatten(2))
    return visual.ln_post(out)[:, 1:] @ visual.proj


@pytest.mark.parametrize(('blocks', 'settings'), [((1,), {}), ((1, 2), {'share': 0.25})])
@pytest.mark.parametrize('name', ['vit', 'vit_average'])
def test_what_earlier_blocks_let_flow_equals_open_clips_attention_matrices(name, blocks, settings):
    visual = tiny_clip(name).model.visual.eval()
    spec = LastBlockSpec('toy', residual=False, ffn=False, earlier_blocks=blocks, settings=settings)
    encoder = build_dense_encoder(visual, last_block=spec)
    image = torch.randn(2, 3, 40, 56)
    with torch.no_grad():
        expected = plain(visual, encoder, image, blocks, settings.get('share', 0.5))
        ours = encoder(image).patch.flatten(2).transpose(1, 2)
    assert torch.allclose(ours, expected, atol=1e-5)


def test_no_attention_matrix_is_held():
    spec = LastBlockSpec('toy', earlier_blocks=(1, 2))
    encoder = build_dense_encoder(tiny_clip('vit').model.visual, last_block=spec)
    tokens = 1 + 40 * 40
    with torch.no_grad(), LargestTensor() as seen:
        encoder(torch.zeros(1, 3, 320, 320))
    # One matrix of one head in float32 would be 4 bytes a pair.
    assert seen.largest < tokens**2


def test_nothing_is_kept_of_earlier_blocks_where_nobody_reads_them():
    encoder = build_dense_encoder(tiny_clip('vit').model.visual, last_block=LastBlockSpec('own'))
    image = torch.randn(1, 3, 24, 24)
    assert encoder(image).patch.shape == (1, 24, 3, 3)
    assert encoder.trunk(image, with_compared=True)[2].compared == ()
    reading = build_dense_encoder(
        tiny_clip('vit').model.visual, last_block=LastBlockSpec('toy', earlier_blocks=(2,))
    )
    assert reading.trunk(image)[2].compared == ()  # mixers ask for tokens alone
    assert len(reading.trunk(image, with_compared=True)[2].compared) == 1


def test_a_dict_may_change_fields_of_a_preset():
    spec = last_block_spec({'preset': 'naclip', 'neighbour_std': 3.0})
    assert (spec.attention, spec.residual, spec.neighbour_std) == ('kk', False, 3.0)
    assert last_block_spec({'preset': 'naclip'}) == LAST_BLOCKS['naclip']
    with pytest.raises(UserError, match="Did you mean 'naclip'"):
        last_block_spec({'preset': 'nacilp'})
    with pytest.raises(UserError, match="unexpected keyword argument 'std'"):
        last_block_spec({'preset': 'naclip', 'std': 3.0})


@pytest.mark.parametrize(
    ('spec', 'message'),
    [
        ({'attention': 'toy'}, "'toy' needs last_block.earlier_blocks"),
        ({'attention': 'kk', 'earlier_blocks': (1,)}, "'kk' reads no earlier block"),
        (
            {'attention': 'toy', 'earlier_blocks': (1,), 'settings': {'shares': 1}},
            r"may be \['share', 'times'\], got 'shares'. Did you mean 'share'",
        ),
        ({'attention': 'kk', 'settings': {'share': math.nan}}, r"of attention 'kk' may be \[\]"),
    ],
)
def test_what_an_attention_does_not_read_is_refused(spec, message):
    with pytest.raises(UserError, match=message):
        LastBlockSpec(**spec)


@pytest.mark.parametrize('blocks', [(0,), (1, 3), (-1,)])
def test_blocks_that_the_tower_does_not_have_before_its_last_are_refused(blocks):
    with pytest.raises(UserError, match=r'must lie in 1\.\.2 for a CLIP of 3 blocks, got'):
        build_dense_encoder(
            tiny_clip('vit').model.visual,
            last_block={'attention': 'toy', 'earlier_blocks': blocks},
        )
