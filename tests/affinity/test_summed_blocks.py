"""Attentions of several last blocks, added up beside the model's own path."""

from __future__ import annotations

import pytest
import torch
from tiny_clip_models import tiny_clip

from ovseg.affinity import LAST_BLOCKS, LastBlockSpec, last_block_spec
from ovseg.encoders import build_dense_encoder
from ovseg.errors import UserError


def plain(visual, tokens, blocks):
    """Token by token: what entered the first of the last blocks, and what each adds."""
    for block in visual.transformer.resblocks[:-blocks]:
        tokens = block(tokens)
    summed = tokens
    for block in visual.transformer.resblocks[-blocks:]:
        attention, width = block.attn, tokens.shape[-1]
        weight, bias = attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :]
        value = block.ln_1(tokens) @ weight.T + bias
        heads = value.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        alike = (heads @ heads.mT / heads.shape[-1] ** 0.5).softmax(-1)
        summed = summed + attention.out_proj((alike @ heads).transpose(1, 2).flatten(2))
        tokens = block(tokens)
    return visual.ln_post(summed)[:, 1:] @ visual.proj


@pytest.mark.parametrize('blocks', [1, 2, 3])
def test_each_block_adds_what_its_values_say_on_the_models_own_tokens(blocks):
    visual = tiny_clip('vit').model.visual.eval()
    assert len(visual.transformer.resblocks) == 3
    encoder = build_dense_encoder(visual, last_block=dict(preset='vv-all', summed=blocks))
    image = torch.randn(2, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = encoder(image).patch.flatten(2).mT
        wanted = plain(visual, encoder.embed(image)[0], blocks)
        whole = build_dense_encoder(visual, last_block='vv-all')(image).patch.flatten(2).mT
    assert torch.allclose(ours, wanted, atol=1e-5)
    # Of 12 blocks the tower has three.
    assert torch.allclose(whole, ours, atol=1e-6) == (blocks == 3)


def test_sums_need_something_to_be_added_to():
    assert LAST_BLOCKS['vv-all'] == LastBlockSpec('vv', ffn=False, summed=12)
    for wrong in (dict(summed=0), dict(summed=2, residual=False)):
        with pytest.raises(UserError, match='last_block.summed counts the last blocks'):
            last_block_spec(dict(preset='vv-all', **wrong))
