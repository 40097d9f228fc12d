from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from tiny_companions import randomised
from torch.nn import functional as F

from ovseg.encoders.dinov3 import (
    PUBLISHED,
    DINOv3Encoder,
    build_dinov3,
    from_published,
    load_dinov3,
)
from ovseg.errors import UserError

TINY = {'patch_size': 4, 'embed_dim': 16, 'depth': 2, 'num_heads': 2, 'num_reg_tokens': 3}
GATED = {**TINY, 'swiglu_mlp': True, 'swiglu_align_to': 8}
KINDS = ('weight', 'bias')
SIZES = [(16, 16), (12, 28)]


def published(width=16, depth=2, patch=4, registers=3, heads=2, gated=False):
    """Names and shapes of a file of facebookresearch/dinov3, written down from its sizes."""
    hidden = 4 * width
    ends = {'w1': (hidden, width), 'w2': (hidden, width), 'w3': (width, hidden)}
    mlp = ends if gated else {'fc1': (hidden, width), 'fc2': (width, hidden)}
    block = {
        **{f'{norm}.{kind}': (width,) for norm in ('norm1', 'norm2') for kind in KINDS},
        **{'attn.qkv.weight': (3 * width, width), 'attn.qkv.bias': (3 * width,)},
        **{'attn.proj.weight': (width, width), 'attn.proj.bias': (width,)},
        **{'ls1.gamma': (width,), 'ls2.gamma': (width,)},
        **{f'mlp.{name}.weight': shape for name, shape in mlp.items()},
        **{f'mlp.{name}.bias': shape[:1] for name, shape in mlp.items()},
    }
    shapes = {
        'cls_token': (1, 1, width),
        'storage_tokens': (1, registers, width),
        'mask_token': (1, width),
        'patch_embed.proj.weight': (width, 3, patch, patch),
        'patch_embed.proj.bias': (width,),
        **{f'blocks.{i}.{name}': block[name] for i in range(depth) for name in block},
        **{f'norm.{kind}': (width,) for kind in KINDS},
    }
    state = {name: torch.randn(shape) for name, shape in shapes.items()}
    exponents = torch.arange(width // heads // 4) / (width // heads // 4)
    state['rope_embed.periods'] = (100.0**exponents).bfloat16().float()
    for number in range(depth):
        mask = torch.ones(3, width)
        mask[1] = 0  # keys have no bias, whatever is stored
        state[f'blocks.{number}.attn.qkv.bias_mask'] = mask.flatten()
    return state


@pytest.mark.parametrize('name', PUBLISHED)
def test_the_published_files_fit(name):
    width, depth, heads = PUBLISHED[name].size
    gated = name.endswith('plus')
    with torch.device('meta'):
        vit = build_dinov3(name)
    # On the CPU, for the values of a bias say whether it is one; one block stands for all.
    state = from_published(published(width, 1, 16, 4, heads, gated), name)
    assert state.pop('periods').shape == vit.rope.periods.shape == (width // heads // 4,)
    own = {k: tuple(v.shape) for k, v in vit.state_dict().items() if 'blocks.' not in k}
    own |= {k: tuple(v.shape) for k, v in vit.state_dict().items() if 'blocks.0.' in k}
    assert {name: tuple(value.shape) for name, value in state.items()} == own
    assert len(vit.blocks) == depth and vit.blocks[0].norm1.eps == 1e-5


def pictures():
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(2, 3, *size, generator=generator) for size in SIZES]


@torch.no_grad()
def by_hand(state, image, encoder, gated):
    """DINOv3 from its published names: final tokens, and the last block's projections."""
    mean, std = encoder.mean, encoder.std
    patches = F.conv2d(
        (image - mean) / std,
        state['patch_embed.proj.weight'],
        state['patch_embed.proj.bias'],
        stride=4,
    )
    rows, columns = patches.shape[2:]
    patches = patches.flatten(2).transpose(1, 2)
    prefix = torch.cat([state['cls_token'], state['storage_tokens']], 1)
    tokens = torch.cat([prefix.expand(len(image), -1, -1), patches], 1)
    y, x = ((torch.arange(side) + 0.5) / side * 2 - 1 for side in (rows, columns))
    places = torch.stack(torch.meshgrid(y, x, indexing='ij'), -1).flatten(0, 1)
    angles = 2 * torch.pi * places[:, :, None] / state['rope_embed.periods']
    angles = angles.flatten(1).tile(2)

    def turned(part):  # (B, heads, N, 8): prefix tokens stay
        first, rest = part[:, :, :4], part[:, :, 4:]
        half = torch.cat([-rest[..., 4:], rest[..., :4]], -1)
        return torch.cat([first, rest * angles.cos() + half * angles.sin()], 2)

    def normed(values, name):
        return F.layer_norm(values, (16,), state[f'{name}.weight'], state[f'{name}.bias'], 1e-5)

    def linear(values, name):
        return F.linear(values, state[f'{name}.weight'], state[f'{name}.bias'])

    for number in range(2):
        block = f'blocks.{number}'
        bias = state[f'{block}.attn.qkv.bias'] * state[f'{block}.attn.qkv.bias_mask']
        qkv = F.linear(normed(tokens, f'{block}.norm1'), state[f'{block}.attn.qkv.weight'], bias)
        q, k, v = (part.unflatten(2, (2, 8)).transpose(1, 2) for part in qkv.chunk(3, 2))
        mixed = F.scaled_dot_product_attention(turned(q), turned(k), v).transpose(1, 2).flatten(2)
        scales = [state[f'{block}.ls{part}.gamma'] for part in (1, 2)]
        tokens = tokens + scales[0] * linear(mixed, f'{block}.attn.proj')
        inner = normed(tokens, f'{block}.norm2')
        if gated:
            hidden = F.silu(linear(inner, f'{block}.mlp.w1')) * linear(inner, f'{block}.mlp.w2')
            hidden = linear(hidden, f'{block}.mlp.w3')
        else:
            hidden = linear(F.gelu(linear(inner, f'{block}.mlp.fc1')), f'{block}.mlp.fc2')
        tokens = tokens + scales[1] * hidden
    return normed(tokens, 'norm'), qkv


@pytest.mark.parametrize('gated', [False, True])
def test_an_original_file_gives_what_its_tensors_say(gated, tmp_path):
    state = published(gated=gated)
    torch.save(state, tmp_path / 'dinov3_vits16_pretrain.pth')
    settings = GATED if gated else TINY
    encoder = DINOv3Encoder(load_dinov3(settings, tmp_path / 'dinov3_vits16_pretrain.pth'))
    for image in pictures():
        tokens, qkv = by_hand(state, image, encoder, gated)
        found = encoder.all_tokens(image, 'tokens')
        assert torch.allclose(found, tokens, atol=1e-4)
        grid = tuple(side // 4 for side in image.shape[2:])
        assert torch.equal(encoder(image, 'tokens').flatten(2), found[:, 4:].transpose(1, 2))
        q, k, v = qkv.chunk(3, 2)
        for name, wanted in {'queries': q, 'keys': k, 'values': v, 'queries+keys': q + k}.items():
            assert encoder(image, name).shape == (2, 16, *grid)
            assert torch.allclose(encoder.all_tokens(image, name), wanted, atol=1e-4), name


@pytest.mark.parametrize('bias', [False, True])
def test_a_file_of_timms_gives_what_timms_own_model_gives_with_its_biases(bias, tmp_path):
    timms = build_dinov3({**TINY, 'qkv_bias': bias}).eval()
    save_file(randomised(timms).state_dict(), tmp_path / 'model.safetensors')
    encoder = DINOv3Encoder(load_dinov3(TINY, tmp_path))
    attention = timms.blocks[-1].attn
    seen = []
    hook = attention.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    for image in pictures():
        wanted = timms.forward_features((image - encoder.mean) / encoder.std)
        assert torch.allclose(encoder.all_tokens(image, 'tokens'), wanted, atol=1e-5)
        stacked = torch.cat([attention.q_bias, torch.zeros(16), attention.v_bias]) if bias else None
        values = F.linear(seen.pop(), attention.qkv.weight, stacked).chunk(3, 2)[2]
        assert torch.allclose(encoder.all_tokens(image, 'values'), values, atol=1e-5)
    hook.remove()
    assert bool(encoder.vit.blocks[0].attn.v_bias.any()) == bias


@pytest.mark.parametrize('gated', [False, True])
def test_a_folder_for_transformers_gives_what_transformers_gives(gated, tmp_path):
    transformers = pytest.importorskip('transformers')
    torch.manual_seed(0)
    config = transformers.DINOv3ViTConfig(
        hidden_size=16,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        patch_size=4,
        num_register_tokens=3,
        use_gated_mlp=gated,
        hidden_act='silu' if gated else 'gelu',
    )
    theirs = randomised(transformers.DINOv3ViTModel(config).eval())
    theirs.save_pretrained(tmp_path)
    encoder = DINOv3Encoder(load_dinov3(GATED if gated else TINY, tmp_path))
    for image in pictures():
        with torch.no_grad():
            wanted = theirs((image - encoder.mean) / encoder.std).last_hidden_state
        assert torch.allclose(encoder.all_tokens(image, 'tokens'), wanted, atol=1e-5)


BLOCK = 'blocks.1'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({f'{BLOCK}.attn.qkv.bias_mask': torch.ones(48)}, "bias of keys in 'blocks.1.attn.'"),
        ({'rope_embed.periods': torch.tensor([1.0, 20.0])}, 'other rotary positions'),
        ({f'{BLOCK}.ls1.gamma': None}, r'1 missing \(blocks\.1\.gamma_1\)'),
        ({'local_cls_norm.weight': torch.ones(16)}, r'1 unexpected \(local_cls_norm\.weight\)'),
        ({'storage_tokens': torch.ones(1, 4, 16)}, r'reg_token is \(1, 4, 16\)'),
    ],
)
def test_a_file_of_another_model_is_refused_and_nothing_of_it_is_left_out(
    change, message, tmp_path
):
    state = {**published(), **change}
    state = {name: value for name, value in state.items() if value is not None}
    torch.save(state, tmp_path / 'dinov3.pth')
    with pytest.raises(UserError, match=message):
        load_dinov3(TINY, tmp_path / 'dinov3.pth')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (
            ('dinov3_vitb14', 'random'),
            r"dinov3\.model must be one of .*Did you mean 'dinov3_vitb16'",
        ),
        ((TINY,), "dinov3.pretrained must name a file, or 'random'"),
        (({**TINY, 'wings': 2}, 'random'), "dinov3.model does not fit timm's Eva"),
    ],
)
def test_bad_arguments_are_one_sentence(arguments, message):
    with pytest.raises(UserError, match=message):
        load_dinov3(*arguments)
