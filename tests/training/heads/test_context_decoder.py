from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.training.heads.context_decoder import ContextDecoder

SIZES = dict(transformer_width=16, transformer_heads=4, transformer_layers=2, visual_dim=12)


def decoder(**settings):
    torch.manual_seed(0)
    made = ContextDecoder(**{**SIZES, **settings})
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made.eval()


def plain(state, text, visual):
    """The decoder written out, with PyTorch's own multi-head attention."""

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], state[f'{name}.weight'], state[f'{name}.bias'], 1e-5)

    def linear(x, name):
        return F.linear(x, state[f'{name}.weight'], state[f'{name}.bias'])

    def attention(queries, memory, name):
        weights = [state[f'{name}.{part}_proj.weight'] for part in 'qkv']
        found, _ = F.multi_head_attention_forward(
            *(queries.transpose(0, 1), memory.transpose(0, 1), memory.transpose(0, 1)),
            *(queries.shape[-1], SIZES['transformer_heads']),
            in_proj_weight=None,
            in_proj_bias=None,
            bias_k=None,
            bias_v=None,
            add_zero_attn=False,
            dropout_p=0.0,
            out_proj_weight=state[f'{name}.proj.weight'],
            out_proj_bias=state[f'{name}.proj.bias'],
            use_separate_proj_weight=True,
            q_proj_weight=weights[0],
            k_proj_weight=weights[1],
            v_proj_weight=weights[2],
            need_weights=False,
        )
        return found.transpose(0, 1)

    memory = norm(linear(norm(visual, 'memory_proj.0'), 'memory_proj.1'), 'memory_proj.2')
    x = linear(norm(text, 'text_proj.0'), 'text_proj.1')
    for index in range(SIZES['transformer_layers']):
        layer = f'decoder.{index}'
        y = norm(x, f'{layer}.norm1')
        x = x + attention(y, y, f'{layer}.self_attn')
        x = x + attention(norm(x, f'{layer}.norm2'), memory, f'{layer}.cross_attn')
        y = F.gelu(linear(norm(x, f'{layer}.norm3'), f'{layer}.mlp.0'))
        x = x + linear(y, f'{layer}.mlp.3')
    return linear(norm(x, 'out_proj.0'), 'out_proj.1')


@pytest.mark.parametrize('text_dim', [None, 20])
@torch.no_grad()
def test_text_is_decoded_as_written_out(text_dim):
    model = decoder(text_dim=text_dim)
    text, visual = torch.randn(2, 5, text_dim or 12), torch.randn(2, 7, 12)
    found = model(text, visual)
    assert found.shape == text.shape
    torch.testing.assert_close(found, plain(model.state_dict(), text, visual), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_order_of_the_memory_and_of_the_names_does_not_matter():
    model, text, visual = decoder(), torch.randn(1, 5, 12), torch.randn(1, 7, 12)
    found = model(text, visual)
    torch.testing.assert_close(model(text, visual.flip(1)), found, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model(text.flip(1), visual), found.flip(1), rtol=1e-4, atol=1e-5)


def test_dropout_acts_after_every_projection_and_in_the_mlps():
    model = decoder(dropout=0.25)
    drops = [(name, m.p) for name, m in model.named_modules() if isinstance(m, nn.Dropout)]
    assert {rate for _, rate in drops} == {0.25} and len(drops) == 2 * 4
    text, visual = torch.randn(1, 5, 12), torch.randn(1, 7, 12)
    with torch.no_grad():
        assert torch.equal(model(text, visual), model(text, visual))
        model.train()
        assert not torch.equal(model(text, visual), model(text, visual))


def test_it_starts_small_with_norms_at_one():
    torch.manual_seed(0)
    for name, value in ContextDecoder(visual_dim=64, transformer_width=64).named_parameters():
        if value.ndim == 2:
            assert value.std().item() == pytest.approx(0.02, rel=0.1), name
        elif name.endswith('weight'):
            assert (value == 1).all(), name
        else:
            assert not value.any(), name


def test_names_and_shapes_are_the_published_ones():
    with torch.device('meta'):
        model = ContextDecoder(256, 4, 3, visual_dim=1024)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    pairs = ('weight', 'bias')
    expected = {
        'memory_proj.1.weight': (256, 1024),
        'memory_proj.1.bias': (256,),
        'text_proj.1.weight': (256, 1024),
        'text_proj.1.bias': (256,),
        'out_proj.1.weight': (1024, 256),
        'out_proj.1.bias': (1024,),
        **{f'{name}.0.{kind}': (1024,) for name in ('memory_proj', 'text_proj') for kind in pairs},
        **{f'{name}.{kind}': (256,) for name in ('memory_proj.2', 'out_proj.0') for kind in pairs},
    }
    for layer in (f'decoder.{index}' for index in range(3)):
        for attention in ('self_attn', 'cross_attn'):
            expected |= {
                **{f'{layer}.{attention}.{part}_proj.weight': (256, 256) for part in 'qkv'},
                f'{layer}.{attention}.proj.weight': (256, 256),
                f'{layer}.{attention}.proj.bias': (256,),
            }
        expected |= {
            **{f'{layer}.norm{i}.{kind}': (256,) for i in (1, 2, 3) for kind in pairs},
            f'{layer}.mlp.0.weight': (1024, 256),
            f'{layer}.mlp.0.bias': (1024,),
            f'{layer}.mlp.3.weight': (256, 1024),
            f'{layer}.mlp.3.bias': (256,),
        }
    assert shapes == expected


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(UserError, match='transformer_heads=3 does not divide transformer_width=16'):
        decoder(transformer_heads=3)
