from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ovseg.encoders import CLIPVisionTransformer
from ovseg.errors import UserError

TINY = dict(
    input_resolution=64,
    patch_size=16,
    width=32,
    layers=4,
    heads=4,
    output_dim=12,
    out_indices=(0, 1, 2, 3),
)


def seeded(**settings):
    torch.manual_seed(0)
    model = CLIPVisionTransformer(**{**TINY, **settings})
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, 0.5, 0.2)
    return model


def plain_tokens(model, image, activation, twice=True):
    """Tokens after each block, with PyTorch's own attention, and the grid."""
    state = model.state_dict()
    patches = F.conv2d(image, state['conv1.weight'], stride=model.patch_size[0])
    grid = patches.shape[2:]
    side = round((len(state['positional_embedding']) - 1) ** 0.5)
    table = state['positional_embedding']
    planes = table[1:].T.reshape(1, -1, side, side)
    planes = F.interpolate(planes, grid, mode='bilinear', align_corners=False)
    patches = (patches + planes).flatten(2).transpose(1, 2)
    first = state['class_embedding'] * (2 if twice else 1) + table[0]
    x = torch.cat([first.expand(len(image), 1, -1), patches], 1)
    width = x.shape[-1]

    def norm(value, name):
        return F.layer_norm(value, (width,), state[f'{name}.weight'], state[f'{name}.bias'], 1e-5)

    x, after = norm(x, 'ln_pre'), []
    for index in range(TINY['layers']):
        block = f'transformer.resblocks.{index}'
        attention = nn.MultiheadAttention(width, TINY['heads'], batch_first=True)
        prefix = f'{block}.attn.'
        attention.load_state_dict(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
        y = norm(x, f'{block}.ln_1')
        x = x + attention(y, y, y, need_weights=False)[0]
        c_fc, c_proj = (
            [state[f'{block}.mlp.{name}.{kind}'] for kind in ('weight', 'bias')]
            for name in ('c_fc', 'c_proj')
        )
        x = x + F.linear(activation(F.linear(norm(x, f'{block}.ln_2'), *c_fc)), *c_proj)
        after.append(x)
    embedded = norm(x, 'ln_post') @ state['proj'] if 'proj' in state else None
    return after, embedded, grid


def quick_gelu(value):
    return value * torch.sigmoid(1.702 * value)


def as_map(tokens, grid):
    return tokens[:, 1:].transpose(1, 2).unflatten(2, tuple(grid))


def doubled(state, name, value):
    weight, bias = state[f'{name}.weight'], state[f'{name}.bias']
    return F.conv_transpose2d(value, weight, bias, stride=2)


def normed(state, name, value):
    return F.group_norm(value, 1, state[f'{name}.weight'], state[f'{name}.bias'], 1e-5)


def plain_pyramid(model, maps):
    """The four operations of patches of 16 or of 8 pixels, on one map each."""
    state, (first, second, third, fourth) = model.state_dict(), maps
    if model.patch_size[0] == 8:
        return (
            doubled(state, 'fpn1.1', normed(state, 'fpn1.0', first)),
            normed(state, 'fpn2', second),
            F.max_pool2d(normed(state, 'fpn3.0', third), 2),
            F.max_pool2d(normed(state, 'fpn4.0', fourth), 4),
        )
    value = doubled(state, 'fpn1.1', normed(state, 'fpn1.0', first))
    keys = ('running_mean', 'running_var', 'weight', 'bias')
    value = F.gelu(F.batch_norm(value, *(state[f'fpn1.2.{key}'] for key in keys), eps=1e-5))
    return (
        doubled(state, 'fpn1.4', value),
        doubled(state, 'fpn2.1', normed(state, 'fpn2.0', second)),
        normed(state, 'fpn3', third),
        F.max_pool2d(normed(state, 'fpn4.0', fourth), 2),
    )


@pytest.mark.parametrize('size', [(64, 64), (83, 50), (32, 160)])
@pytest.mark.parametrize('patch_size', [16, 8])
@torch.no_grad()
def test_levels_and_embeddings_are_those_of_the_network_written_out(size, patch_size):
    model = seeded(patch_size=patch_size, get_embeddings=True).eval()
    image = torch.randn(2, 3, *size)
    after, embedded, grid = plain_tokens(model, image, quick_gelu)
    assert tuple(grid) == (size[0] // patch_size, size[1] // patch_size)
    found = model(image)
    expected = plain_pyramid(model, [as_map(tokens, grid) for tokens in after])
    torch.testing.assert_close(found.levels, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.global_embedding, embedded[:, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.dense_embedding, as_map(embedded, grid), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_class_embedding_enters_twice_unless_it_is_clips_own():
    image, tokens = torch.randn(1, 3, 64, 64), {}
    for twice in (True, False):
        model = seeded(class_embedding_twice=twice, get_embeddings=True).eval()
        tokens[twice] = model.embed(image)[0]
        embedded = plain_tokens(model, image, quick_gelu, twice)[1]
        torch.testing.assert_close(
            model(image).global_embedding, embedded[:, 0], rtol=1e-4, atol=1e-4
        )
    assert not torch.allclose(tokens[True][:, 0], tokens[False][:, 0])
    assert torch.equal(tokens[True][:, 1:], tokens[False][:, 1:])
    clips = super(CLIPVisionTransformer, model)._embeds(image)
    torch.testing.assert_close(tokens[False], clips, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_the_activation_is_the_configured_one():
    image, found = torch.randn(1, 3, 64, 64), {}
    for name, function in (('quick_gelu', quick_gelu), ('gelu', F.gelu)):
        model = seeded(activation=name, get_embeddings=True).eval()
        found[name] = model(image).global_embedding
        embedded = plain_tokens(model, image, function)[1]
        torch.testing.assert_close(found[name], embedded[:, 0], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found['gelu'], found['quick_gelu'], atol=1e-4)


@torch.no_grad()
def test_without_embeddings_the_levels_are_a_tuple_for_stock_necks():
    image = torch.randn(1, 3, 64, 64)
    model, guided = seeded().eval(), seeded(get_embeddings=True).eval()
    guided.load_state_dict(model.state_dict(), strict=False)
    levels = model(image)
    assert isinstance(levels, tuple)
    torch.testing.assert_close(levels, guided(image).levels)
    assert not {'proj', 'ln_post.weight'} & set(model.state_dict())


def test_blocks_in_another_order_make_the_levels_in_their_own():
    model, other = (seeded(out_indices=indices).eval() for indices in ((0, 1, 2, 3), (3, 1, 0, 2)))
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for ours, wanted in zip(other(image), model(image), strict=True):
            assert torch.equal(ours, wanted)


@torch.no_grad()
def test_a_block_may_make_several_levels():
    model = seeded(patch_size=8, out_indices=(0, 2, 2, 3)).eval()
    image = torch.randn(1, 3, 64, 64)
    after, _, grid = plain_tokens(model, image, quick_gelu)
    maps = [as_map(after[index], grid) for index in (0, 2, 2, 3)]
    torch.testing.assert_close(model(image), plain_pyramid(model, maps), rtol=1e-4, atol=1e-4)


def test_drop_path_grows_over_the_blocks_and_drops_whole_branches_in_training_only():
    model = seeded(drop_path_rate=0.3)
    assert model.drop_path_rates == pytest.approx([0, 0.1, 0.2, 0.3])
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(image), seeded().eval()(image))
        tokens = torch.randn(400, 3, 32)
        block = model.transformer.resblocks[0]
        whole = model._run(block, tokens, 0.0) - tokens
        dropped = model.train()._run(block, tokens, 0.5) - tokens
    silent = (dropped == 0).flatten(1).all(1)
    assert 0.15 < silent.float().mean() < 0.35  # both branches of a quarter of the images
    assert not (whole == 0).flatten(1).all(1).any()


def test_everything_learns():
    model = seeded(get_embeddings=True)
    found = model(torch.randn(2, 3, 64, 64))
    outputs = (*found.levels, found.global_embedding, found.dense_embedding)
    sum(output.square().mean() for output in outputs).backward()
    assert not [name for name, value in model.named_parameters() if value.grad is None]


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(patch_size=32), 'backbone.patch_size=32 has no pyramid'),
        (dict(activation='relu'), "backbone.activation must be one of .*'relu'"),
        (dict(out_indices=(0, 1, 2, 4)), r'must name 4 of the blocks 0..3, got \[0, 1, 2, 4\]'),
        (dict(out_indices=(0, 1, 3)), r'must name 4 of the blocks 0..3, got \[0, 1, 3\]'),
    ],
)
def test_bad_settings_say_what_to_set(settings, message):
    with pytest.raises(UserError, match=message):
        seeded(**settings)


def test_names_and_shapes_are_the_published_ones():
    with torch.device('meta'):
        model = CLIPVisionTransformer(
            input_resolution=640, drop_path_rate=0.1, get_embeddings=True, layers=12
        )
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    pairs = ('weight', 'bias')
    expected = {
        'class_embedding': (768,),
        'positional_embedding': (1601, 768),
        'conv1.weight': (768, 3, 16, 16),
        'proj': (768, 512),
        **{f'{name}.{kind}': (768,) for name in ('ln_pre', 'ln_post', 'fpn3') for kind in pairs},
        **{f'fpn{i}.0.{kind}': (768,) for i in (1, 2, 4) for kind in pairs},
        **{f'{name}.weight': (768, 768, 2, 2) for name in ('fpn1.1', 'fpn1.4', 'fpn2.1')},
        **{f'{name}.bias': (768,) for name in ('fpn1.1', 'fpn1.4', 'fpn2.1')},
        **{f'fpn1.2.{key}': (768,) for key in (*pairs, 'running_mean', 'running_var')},
        'fpn1.2.num_batches_tracked': (),
    }
    for index in range(12):
        block = f'transformer.resblocks.{index}'
        expected |= {
            f'{block}.attn.in_proj_weight': (2304, 768),
            f'{block}.attn.in_proj_bias': (2304,),
            f'{block}.attn.out_proj.weight': (768, 768),
            f'{block}.attn.out_proj.bias': (768,),
            f'{block}.mlp.c_fc.weight': (3072, 768),
            f'{block}.mlp.c_fc.bias': (3072,),
            f'{block}.mlp.c_proj.weight': (768, 3072),
            f'{block}.mlp.c_proj.bias': (768,),
            **{f'{block}.ln_{i}.{kind}': (768,) for i in (1, 2) for kind in pairs},
        }
    assert shapes == expected
