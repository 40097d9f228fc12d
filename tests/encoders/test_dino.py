from __future__ import annotations

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from ovseg.encoders.dino import PUBLISHED, DINOEncoder, build_dino, load_dino
from ovseg.encoders.found import FOUND
from ovseg.encoders.position import resize_position_embedding
from ovseg.errors import UserError

TINY = {'img_size': 32, 'patch_size': 8, 'embed_dim': 16, 'depth': 3, 'num_heads': 2}


@pytest.fixture(scope='module')
def encoder():
    torch.manual_seed(0)
    return DINOEncoder(load_dino(TINY, 'random'))


@pytest.mark.parametrize('height, width', [(32, 32), (16, 40), (30, 19), (1, 1)])
def test_any_image_size_gives_a_grid_that_covers_it(encoder, height, width):
    for quantity in ('queries', 'keys', 'values'):
        maps = encoder(torch.rand(2, 3, height, width), quantity)
        assert maps.shape == (2, 16, -(-height // 8), -(-width // 8))
        assert torch.isfinite(maps).all()


def test_projections_are_those_of_the_last_attention(encoder):
    seen = []
    qkv = encoder.vit.blocks[-1].attn.qkv
    hook = qkv.register_forward_hook(lambda module, args, output: seen.append(output))
    image = torch.rand(1, 3, 32, 32)
    encoder.vit.forward_features((image - encoder.mean) / encoder.std)
    hook.remove()
    for part, quantity in enumerate(('queries', 'keys', 'values')):
        wanted = seen[0][:, 1:].chunk(3, dim=-1)[part].transpose(1, 2)
        assert torch.allclose(encoder(image, quantity).flatten(2), wanted, atol=1e-5)


def test_an_image_is_filled_up_with_black(encoder):
    image = torch.rand(1, 3, 20, 29)
    filled = torch.zeros(1, 3, 24, 32)
    filled[..., :20, :29] = image
    assert torch.allclose(encoder(image, 'keys'), encoder(filled, 'keys'), atol=1e-6)


def test_position_embedding_is_sampled_by_dinos_factor():
    embedding = torch.randn(1 + 16, 4)
    found = resize_position_embedding(embedding, (4, 4), (3, 6), 'dino')
    planes = embedding[1:].T.unflatten(1, (4, 4))[None]
    factors = (3.1 / 4, 6.1 / 4)
    wanted = torch.nn.functional.interpolate(planes, scale_factor=factors, mode='bicubic')
    assert wanted.shape[2:] == (3, 6)
    assert torch.allclose(found[1:], wanted[0].flatten(1).T, atol=1e-6)
    by_size = resize_position_embedding(embedding, (4, 4), (3, 6), 'always')
    assert not torch.allclose(found, by_size, atol=1e-3)
    as_many = resize_position_embedding(embedding, (4, 4), (2, 8), 'dino')
    assert not torch.allclose(as_many, embedding, atol=1e-3)


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_names_build_their_architecture(name):
    with torch.device('meta'):
        model = build_dino(name)
    size, patch = (
        name.removeprefix('dino_vit').removesuffix('_300ep')[0],
        int(name.split('t')[1][1:].split('_')[0]),
    )
    assert isinstance(model, VisionTransformer)
    assert model.embed_dim == {'s': 384, 'b': 768}[size]
    assert model.patch_embed.patch_size == (patch, patch)
    keys = set(model.state_dict())
    blocks = {
        f'blocks.{i}.{part}.{kind}'
        for i in range(12)
        for part in ('norm1', 'attn.qkv', 'attn.proj', 'norm2', 'mlp.fc1', 'mlp.fc2')
        for kind in ('weight', 'bias')
    }
    others = {'cls_token', 'pos_embed', 'norm.weight', 'norm.bias'}
    assert keys == blocks | others | {'patch_embed.proj.weight', 'patch_embed.proj.bias'}


def test_weights_load_strictly_and_are_frozen(tmp_path):
    state = load_dino(TINY, 'random').model.state_dict()
    torch.save(state, tmp_path / 'dino.pth')
    loaded = load_dino(TINY, tmp_path / 'dino.pth')
    assert all(torch.equal(loaded.model.state_dict()[name], state[name]) for name in state)
    assert not any(p.requires_grad for p in loaded.model.parameters())
    del state['norm.bias']
    torch.save(state, tmp_path / 'short.pth')
    with pytest.raises(UserError, match=r'1 missing \(norm.bias\)'):
        load_dino(TINY, tmp_path / 'short.pth')


@pytest.mark.parametrize(
    'model, pretrained, message',
    [
        ('dino_vitb14', None, 'dino.model must be one of'),
        (TINY, None, "dino.pretrained must name a file, or 'random'"),
        ({**TINY, 'heads': 2}, 'random', "does not fit timm's VisionTransformer"),
        ('tiny_dino_scenes', 'random', "of the embedded model 'tiny_dino_scenes' must be left out"),
    ],
)
def test_settings_that_do_not_fit_are_named(model, pretrained, message):
    with pytest.raises(UserError, match=message):
        load_dino(model, pretrained)


def test_found_is_a_convolution_on_the_keys(tmp_path):
    torch.manual_seed(0)
    dino = {'model': TINY, 'pretrained': 'random'}
    weight, bias = torch.randn(1, 16, 1, 1), torch.randn(1)
    torch.save({'decoder': {'weight': weight, 'bias': bias}}, tmp_path / 'decoder_weights.pt')
    found = FOUND(dino, tmp_path / 'decoder_weights.pt')
    image = torch.rand(2, 3, 24, 40)
    keys = found.encoder(image, 'keys')
    wanted = (keys * weight[0][None]).sum(1, keepdim=True) + bias
    assert torch.allclose(found(image), wanted, atol=1e-5)
    assert not any(p.requires_grad for p in found.parameters())


@pytest.mark.parametrize('content', [{'weight': torch.zeros(1)}, [torch.zeros(1)]])
def test_another_file_is_no_decoder(tmp_path, content):
    torch.save(content, tmp_path / 'other.pt')
    with pytest.raises(UserError, match="is no file of FOUND's decoder"):
        FOUND({'model': TINY, 'pretrained': 'random'}, tmp_path / 'other.pt')
