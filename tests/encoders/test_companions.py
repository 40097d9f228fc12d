from __future__ import annotations

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from tiny_companions import COMPANIONS, DINO, VIT, randomised
from torch.nn import functional as F

from ovseg.encoders.dino import DINOEncoder
from ovseg.encoders.dinov2 import PUBLISHED, build_dinov2, from_published, load_dinov2
from ovseg.encoders.position import resize_position_embedding
from ovseg.errors import UserError
from ovseg.registry import MODELS


def companion(name, **settings):
    torch.manual_seed(0)
    return MODELS.build({'_scope_': 'ovseg', **COMPANIONS[name], **settings})


def test_a_last_partial_patch_is_left_out():
    look, image = companion('dino'), torch.rand(1, 3, 23, 30)
    assert torch.equal(look(image), look(image[..., :20, :28]))


def test_a_scale_makes_the_grid_finer():
    look, image = companion('dino', scale=2), torch.rand(1, 3, 23, 30)
    larger = F.interpolate(image[..., :22, :30], scale_factor=2, mode='bilinear')
    assert look.stride == (2, 2)
    assert torch.allclose(look(image), companion('dino')(larger), atol=1e-5)
    with pytest.raises(UserError, match=r'companion.scale must divide the patch \(4, 4\), got 3'):
        companion('dino', scale=3)


def test_an_unknown_quantity_names_the_nearest():
    with pytest.raises(UserError, match=r"companion\.quantity .*'token'.*tokens"):
        companion('dino', quantity='token')


def test_sam_sees_imagenets_statistics_and_its_own_size():
    look, image = companion('sam'), torch.rand(1, 3, 20, 30)
    normed = (image - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    wanted = look.encoder(F.interpolate(normed, size=(32, 32), mode='bilinear'))
    assert torch.allclose(look(image), wanted, atol=1e-5)


# DINOv2 ------------------------------------------------------------------------------------------


def published_shapes(width, depth, registers):
    """Names and shapes in the files of facebookresearch/dinov2."""
    shapes = {
        'cls_token': (1, 1, width),
        'pos_embed': (1, 1 + 37 * 37, width),
        'mask_token': (1, width),
        'patch_embed.proj.weight': (width, 3, 14, 14),
        'patch_embed.proj.bias': (width,),
        'norm.weight': (width,),
        'norm.bias': (width,),
    }
    if registers:
        shapes['register_tokens'] = (1, registers, width)
    parts = {
        **{
            f'{norm}.{kind}': (width,) for norm in ('norm1', 'norm2') for kind in ('weight', 'bias')
        },
        **{f'{scale}.gamma': (width,) for scale in ('ls1', 'ls2')},
        'attn.qkv.weight': (3 * width, width),
        'attn.qkv.bias': (3 * width,),
        'attn.proj.weight': (width, width),
        'attn.proj.bias': (width,),
        'mlp.fc1.weight': (4 * width, width),
        'mlp.fc1.bias': (4 * width,),
        'mlp.fc2.weight': (width, 4 * width),
        'mlp.fc2.bias': (width,),
    }
    for block in range(depth):
        shapes.update({f'blocks.{block}.{name}': shape for name, shape in parts.items()})
    return shapes


@pytest.mark.parametrize('name', sorted(PUBLISHED))
def test_the_published_files_fit_timms_architectures(name):
    width, depth = {'s': (384, 12), 'b': (768, 12), 'l': (1024, 24)}[name[len('dinov2_vit')]]
    registers = 4 if name.endswith('_reg') else 0
    with torch.device('meta'):
        vit = build_dinov2(name)
        shapes = published_shapes(width, depth, registers)
        state = {key: torch.zeros(shape) for key, shape in shapes.items()}
        vit.load_state_dict(from_published(state), strict=True, assign=True)
    assert vit.blocks[0].norm1.eps == 1e-6 and vit.blocks[0].attn.num_heads == width // 64


def as_published(vit):
    """The state of a timm model under the names of a published file."""
    state = dict(vit.state_dict())
    state['mask_token'] = torch.zeros(1, vit.embed_dim)
    if 'reg_token' in state:
        state['register_tokens'] = state.pop('reg_token')
        class_position = torch.randn(1, 1, vit.embed_dim)
        state['cls_token'] = state['cls_token'] - class_position
        state['pos_embed'] = torch.cat([class_position, state['pos_embed']], 1)
    return state


@pytest.mark.parametrize('registers', [0, 3])
def test_a_published_file_gives_the_final_tokens_of_timms_model(registers, tmp_path):
    settings = {**VIT, 'reg_tokens': registers}
    vit = randomised(
        VisionTransformer(
            num_classes=0, init_values=1.0, no_embed_class=bool(registers), **settings
        ).eval()
    )
    torch.save(as_published(vit), tmp_path / 'dinov2.pth')
    encoder = DINOEncoder(load_dinov2(settings, tmp_path / 'dinov2.pth'))
    image = torch.rand(2, 3, 32, 32)
    tokens = vit.forward_features((image - encoder.mean) / encoder.std)[:, 1 + registers :]
    found = encoder(image, 'tokens').flatten(2).transpose(1, 2)
    assert torch.allclose(found, tokens, atol=1e-5)


def test_positions_are_sampled_by_factor_without_registers_and_antialiased_with_them():
    plain, with_registers = (
        DINOEncoder(load_dinov2({**VIT, 'reg_tokens': count}, 'random')) for count in (0, 2)
    )
    assert (plain.position_resize, with_registers.position_resize) == ('dino', 'antialias')
    embedding = torch.randn(1 + 64, 4)
    found = resize_position_embedding(embedding, (8, 8), (3, 5), 'antialias')
    planes = embedding[1:].T.unflatten(1, (8, 8))[None]
    wanted = F.interpolate(planes, size=(3, 5), mode='bicubic', antialias=True)
    assert torch.allclose(found[1:], wanted[0].flatten(1).T, atol=1e-6)
    assert torch.equal(found[:1], embedding[:1])
    without = resize_position_embedding(embedding, (8, 8), (3, 5), 'always')
    assert not torch.allclose(found, without, atol=1e-2)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('dinov2_vitb14_regs',), "dinov2.model must be one of .*dinov2_vitb14_reg'"),
        ((VIT,), 'dinov2.pretrained must name a file'),
        (({**VIT, 'wings': 2}, 'random'), "dinov2.model does not fit timm's VisionTransformer"),
    ],
)
def test_bad_arguments_are_one_sentence(arguments, message):
    with pytest.raises(UserError, match=message):
        load_dinov2(*arguments)


def test_a_file_of_version_1_does_not_fit(tmp_path):
    first = MODELS.build({'_scope_': 'ovseg', **DINO})
    torch.save(first.encoder.vit.state_dict(), tmp_path / 'dino.pth')
    with pytest.raises(UserError, match='do not fit this model.*ls1.gamma'):
        load_dinov2(VIT, tmp_path / 'dino.pth')
