from __future__ import annotations

import open_clip
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ovseg.encoders import ContextTextEncoder
from ovseg.encoders.text_context import tokenize_names
from ovseg.errors import UserError
from ovseg.registry import MODELS

SIZES = dict(
    context_length=8,
    vocab_size=50000,
    transformer_width=16,
    transformer_heads=4,
    transformer_layers=2,
    embed_dim=10,
)
TOKENS = tokenize_names(['wall', 'traffic light', 'sky'], 5)


def encoder(**settings):
    torch.manual_seed(0)
    made = ContextTextEncoder(**{**SIZES, **settings})
    for parameter in made.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, 0.5, 0.2)
    return made.eval()


def contexts(sets=1, count=3, width=16):
    return torch.randn(sets, count, width, generator=torch.Generator().manual_seed(1))


def quick_gelu(value):
    return value * torch.sigmoid(1.702 * value)


def plain(model, tokens, learned, activation=quick_gelu):
    """Sentence by sentence, with PyTorch's own attention: (K, D) for (N2, W)."""
    state, rows = model.state_dict(), []
    width = learned.shape[1]
    for ids in tokens:
        words = state['token_embedding.weight'][ids]
        x = torch.cat([words[:1], learned, words[1:]]) + state['positional_embedding']
        mask = torch.full((len(x), len(x)), float('-inf')).triu(1)
        for index in range(SIZES['transformer_layers']):
            block = f'transformer.resblocks.{index}.'
            part = {k.removeprefix(block): v for k, v in state.items() if k.startswith(block)}
            attention = nn.MultiheadAttention(width, SIZES['transformer_heads'])
            attention.load_state_dict(
                {k.removeprefix('attn.'): v for k, v in part.items() if k.startswith('attn.')}
            )
            y = F.layer_norm(x, (width,), part['ln_1.weight'], part['ln_1.bias'])
            x = x + attention(y, y, y, attn_mask=mask, need_weights=False)[0]
            y = F.layer_norm(x, (width,), part['ln_2.weight'], part['ln_2.bias'])
            y = activation(F.linear(y, part['mlp.c_fc.weight'], part['mlp.c_fc.bias']))
            x = x + F.linear(y, part['mlp.c_proj.weight'], part['mlp.c_proj.bias'])
        x = F.layer_norm(x, (width,), state['ln_final.weight'], state['ln_final.bias'])
        end = ids.tolist().index(49407) + len(learned)
        rows.append(x[end] @ state['text_projection'])
    return torch.stack(rows)


@pytest.mark.parametrize(('name', 'activation'), [('quick_gelu', quick_gelu), ('gelu', F.gelu)])
@torch.no_grad()
def test_names_behind_contexts_are_encoded_as_written_out(name, activation):
    model, learned = encoder(activation=name), contexts(2)
    found = model(TOKENS, learned)
    assert found.shape == (2, 3, 10)
    for row, one in zip(found, learned, strict=True):
        torch.testing.assert_close(row, plain(model, TOKENS, one, activation), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_without_contexts_of_its_own_it_is_the_text_tower_of_clip():
    # Embeddings of words in the contexts' place: "a photo of" stands before the name.
    torch.manual_seed(0)
    clip = open_clip.CLIP(
        10,
        dict(image_size=32, patch_size=16, width=16, layers=1, head_width=8),
        dict(context_length=8, vocab_size=49408, width=16, heads=4, layers=2),
        quick_gelu=True,
    ).eval()
    model = encoder(vocab_size=49408)
    theirs = clip.state_dict()
    model.load_state_dict({name: theirs[name] for name in model.state_dict()})
    tokenizer = open_clip.SimpleTokenizer(context_length=8)
    sentences = tokenizer(['a photo of wall', 'a photo of traffic light', 'a photo of sky'])
    words = clip.token_embedding(sentences[0, 1:4])
    found = model(TOKENS, words[None])[0]
    torch.testing.assert_close(found, clip.encode_text(sentences), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_what_follows_the_end_of_a_name_changes_nothing():
    model, learned = encoder(), contexts()
    other = TOKENS.clone()
    other[TOKENS == 0] = 17
    torch.testing.assert_close(model(other, learned), model(TOKENS, learned))


def test_contexts_get_gradients_through_a_frozen_tower():
    model, learned = encoder().requires_grad_(False), contexts().requires_grad_()
    model(TOKENS, learned).square().sum().backward()
    assert (learned.grad.abs().amax(2) > 0).all()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_names_and_shapes_are_the_published_ones():
    with torch.device('meta'):
        model = MODELS.build(
            dict(type='CLIPTextContextEncoder', _scope_='ovseg', context_length=13)
        )
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    pairs = ('weight', 'bias')
    expected = {
        'positional_embedding': (13, 512),
        'text_projection': (512, 1024),
        'token_embedding.weight': (49408, 512),
        **{f'ln_final.{kind}': (512,) for kind in pairs},
    }
    for index in range(12):
        block = f'transformer.resblocks.{index}'
        expected |= {
            f'{block}.attn.in_proj_weight': (1536, 512),
            f'{block}.attn.in_proj_bias': (1536,),
            f'{block}.attn.out_proj.weight': (512, 512),
            f'{block}.attn.out_proj.bias': (512,),
            f'{block}.mlp.c_fc.weight': (2048, 512),
            f'{block}.mlp.c_fc.bias': (2048,),
            f'{block}.mlp.c_proj.weight': (512, 2048),
            f'{block}.mlp.c_proj.bias': (512,),
            **{f'{block}.ln_{i}.{kind}': (512,) for i in (1, 2) for kind in pairs},
        }
    assert shapes == expected


def test_an_unknown_activation_says_what_there_is():
    with pytest.raises(UserError, match="text_encoder.activation must be one of .*'relu'"):
        encoder(activation='relu')


def test_names_become_start_name_end_and_zeros():
    tokens = tokenize_names(['wall', 'bed ', 'Traffic  Light'], 5)
    assert tokens.dtype == torch.int64
    assert tokens.tolist() == [
        [49406, 2569, 49407, 0, 0],
        [49406, 2722, 49407, 0, 0],
        [49406, 3399, 1395, 49407, 0],
    ]
    assert torch.equal(tokenize_names(['traffic light'], 5)[0], tokens[2])


def test_a_name_is_never_cut():
    assert tokenize_names(['red traffic light'], 5)[0, -1] == 49407
    with pytest.raises(UserError, match="'big red traffic light' has 6 tokens"):
        tokenize_names(['big red traffic light'], 5)
