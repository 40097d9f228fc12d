from __future__ import annotations

import math

import pytest
import torch
from tiny_mask_heads import HEADS, HIDDEN, LAYERS, MASKFORMER, SIZE, build, levels
from torch import nn
from torch.nn import functional as F

from ovseg.encoders.ovseg_format import to_ovseg
from ovseg.errors import UserError
from ovseg.registry import MODELS
from ovseg.training.heads import OpenVocabularyMaskFormer

# The formulas of MaskFormer in plain torch, by the published names ---------------------------


def attend(state, name, query, key, value):
    """Multi-head attention (B, N, C) -> (B, N, C)."""
    weights = zip(
        state[f'{name}.in_proj_weight'].chunk(3),
        state[f'{name}.in_proj_bias'].chunk(3),
        (query, key, value),
        strict=True,
    )
    q, k, v = (F.linear(x, w, b).unflatten(-1, (HEADS, -1)).transpose(1, 2) for w, b, x in weights)
    mixed = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v
    joined = mixed.transpose(1, 2).flatten(2)
    return F.linear(joined, state[f'{name}.out_proj.weight'], state[f'{name}.out_proj.bias'])


def affine(state, name, x, function=F.linear, **settings):
    return function(x, state[f'{name}.weight'], state[f'{name}.bias'], **settings)


def layer_norm(state, name, x):
    return F.layer_norm(x, x.shape[-1:], state[f'{name}.weight'], state[f'{name}.bias'])


def grouped(state, name, x, padding):
    x = F.conv2d(x, state[f'{name}.weight'], padding=padding)
    norm = state[f'{name}.norm.weight'], state[f'{name}.norm.bias']
    return F.group_norm(x, MASKFORMER['norm_groups'], *norm)


def sine_positions(height, width, channels):
    """(height * width, channels): half of the channels for y, half for x."""
    powers = 10000 ** (2 * torch.arange(channels // 4) / (channels // 2))

    def axis(length):
        angles = torch.arange(1, length + 1) / (length + 1e-6) * 2 * math.pi / powers[:, None]
        return torch.stack([angles.sin(), angles.cos()], 1).flatten(0, 1).T

    y = axis(height)[:, None].expand(-1, width, -1)
    x = axis(width)[None].expand(height, -1, -1)
    return torch.cat([y, x], -1).flatten(0, 1)


def mlp(state, name, x, layers):
    for index in range(layers):
        x = affine(state, f'{name}.layers.{index}', x)
        x = x.relu() if index < layers - 1 else x
    return x


def plain_maskformer(state, features):
    """Embeddings (L, B, Q, E) and mask logits (L, B, Q, h, w)."""
    y = grouped(state, 'pixel_decoder.layer_4', features[3], 1).relu()
    for level in (3, 2, 1):
        lateral = grouped(state, f'pixel_decoder.adapter_{level}', features[level - 1], 0)
        y = lateral + F.interpolate(y, size=lateral.shape[-2:], mode='nearest')
        y = grouped(state, f'pixel_decoder.layer_{level}', y, 1).relu()
    mask_features = affine(state, 'pixel_decoder.mask_features', y, F.conv2d, padding=1)
    memory = affine(state, 'predictor.input_proj', features[3], F.conv2d)
    position = sine_positions(*memory.shape[-2:], HIDDEN)
    memory = memory.flatten(2).mT
    place = state['predictor.query_embed.weight']
    x = torch.zeros(len(memory), *place.shape)
    embeddings, masks = [], []
    for index in range(LAYERS):
        name = f'predictor.transformer.decoder.layers.{index}'
        x = layer_norm(
            state, f'{name}.norm1', x + attend(state, f'{name}.self_attn', x + place, x + place, x)
        )
        seen = attend(state, f'{name}.multihead_attn', x + place, memory + position, memory)
        x = layer_norm(state, f'{name}.norm2', x + seen)
        inner = affine(state, f'{name}.linear1', x).relu()
        x = layer_norm(state, f'{name}.norm3', x + affine(state, f'{name}.linear2', inner))
        hidden = layer_norm(state, 'predictor.transformer.decoder.norm', x)
        embeddings.append(mlp(state, 'predictor.class_embed', hidden, 2))
        queries = mlp(state, 'predictor.mask_embed', hidden, 3)
        masks.append(torch.einsum('bqc,bchw->bqhw', queries, mask_features))
    return torch.stack(embeddings), torch.stack(masks)


def test_proposals_are_those_of_the_formulas_with_the_published_weights():
    head, features = build('maskformer'), levels()
    state = to_ovseg({f'proposals.{name}': value for name, value in head.state_dict().items()})
    state = {name.removeprefix('sem_seg_head.'): value for name, value in state.items()}
    embeddings, masks = plain_maskformer(state, features)
    with torch.no_grad():
        proposals = head.eval()(features, SIZE)
    torch.testing.assert_close(proposals.embeddings, embeddings[-1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(proposals.mask_logits, masks[-1], rtol=1e-4, atol=1e-4)


def test_initial_weights_reach_every_convolution():
    """mmdet leaves out the coarsest pair; the reference initialises all alike."""
    torch.manual_seed(0)
    head = OpenVocabularyMaskFormer(**{**MASKFORMER, 'feat_channels': 64})
    convolutions = [
        convolution.conv.weight
        for convolutions in (head.pixel_decoder.lateral_convs, head.pixel_decoder.output_convs)
        for convolution in convolutions
    ]
    for weight in convolutions:
        nn.init.zeros_(weight)
    head.init_weights()
    for weight in convolutions:
        bound = math.sqrt(3 / weight[0].numel())
        assert weight.abs().max().item() == pytest.approx(bound, rel=0.05)
    wide = OpenVocabularyMaskFormer(**{**MASKFORMER, 'embed_dim': 4096})
    assert wide.non_object_embedding.std().item() == pytest.approx(4096**-0.5, rel=0.1)


def test_a_config_builds_it_by_name():
    assert isinstance(
        MODELS.build({'type': 'OpenVocabularyMaskFormer', '_scope_': 'ovseg', **MASKFORMER}),
        OpenVocabularyMaskFormer,
    )


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'in_channels': (4, 6, 8)}, 'in_channels has 3 numbers'),
        ({'norm_groups': 3}, 'feat_channels=8 cannot be divided by 3'),
        ({'num_heads': 3}, 'hidden_channels=16 cannot be divided by 3'),
        ({'hidden_channels': 18}, 'hidden_channels=18 cannot be divided by 4'),
    ],
)
def test_settings_that_do_not_fit_are_named(change, message):
    with pytest.raises(UserError, match=message):
        OpenVocabularyMaskFormer(**{**MASKFORMER, **change})
