from __future__ import annotations

import open_clip
import pytest
import torch
from tiny_clip_models import tiny_clip

from ovseg.encoders.clip import build_architecture
from ovseg.encoders.maskclip_format import (
    from_maskclip,
    load_maskclip_visual,
    read_maskclip_files,
    to_maskclip,
)
from ovseg.errors import UserError

# What the published files hold, written down from their description, not from our mapping.
VIT_B16_BACKBONE = {
    'backbone.cls_token': (1, 1, 768),
    'backbone.pos_embed': (1, 197, 768),
    'backbone.patch_embed.projection.weight': (768, 3, 16, 16),
    **{f'backbone.{ln}.{p}': (768,) for ln in ('ln0', 'ln1') for p in ('weight', 'bias')},
    **{
        f'backbone.layers.{layer}.{name}': shape
        for layer in range(12)
        for name, shape in {
            'ln1.weight': (768,),
            'ln1.bias': (768,),
            'ln2.weight': (768,),
            'ln2.bias': (768,),
            'attn.attn.in_proj_weight': (2304, 768),
            'attn.attn.in_proj_bias': (2304,),
            'attn.attn.out_proj.weight': (768, 768),
            'attn.attn.out_proj.bias': (768,),
            'ffn.layers.0.0.weight': (3072, 768),
            'ffn.layers.0.0.bias': (3072,),
            'ffn.layers.1.weight': (768, 3072),
            'ffn.layers.1.bias': (768,),
        }.items()
    },
}
RESNETS = {  # blocks a stage, width, text dim
    'RN50-quickgelu': ((3, 4, 6, 3), 64, 1024),
    'RN101-quickgelu': ((3, 4, 23, 3), 64, 512),
    'RN50x4-quickgelu': ((4, 6, 10, 6), 80, 640),
    'RN50x16-quickgelu': ((6, 8, 18, 8), 96, 768),
}


def batch_norm(name, channels):
    yield from ((f'{name}.{p}', (channels,)) for p in ('weight', 'bias'))
    yield from ((f'{name}.running_{p}', (channels,)) for p in ('mean', 'var'))
    yield f'{name}.num_batches_tracked', ()


def resnet_manifest(blocks, width, text_dim):
    half = width // 2
    for conv, norm, (inputs, outputs) in (
        (0, 1, (3, half)),
        (3, 4, (half, half)),
        (6, 7, (half, width)),
    ):
        yield f'backbone.stem.{conv}.weight', (outputs, inputs, 3, 3)
        yield from batch_norm(f'backbone.stem.{norm}', outputs)
    inputs = width
    for stage, count in enumerate(blocks):
        planes = width * 2**stage
        for block in range(count):
            name = f'backbone.layer{stage + 1}.{block}'
            yield f'{name}.conv1.weight', (planes, inputs, 1, 1)
            yield f'{name}.conv2.weight', (planes, planes, 3, 3)
            yield f'{name}.conv3.weight', (4 * planes, planes, 1, 1)
            for index, channels in ((1, planes), (2, planes), (3, 4 * planes)):
                yield from batch_norm(f'{name}.bn{index}', channels)
            if block == 0:
                yield f'{name}.downsample.1.weight', (4 * planes, inputs, 1, 1)
                yield from batch_norm(f'{name}.downsample.2', 4 * planes)
            inputs = 4 * planes
    for name in ('q_proj', 'k_proj', 'v_proj', 'c_proj'):
        outputs = text_dim if name == 'c_proj' else inputs
        yield f'decode_head.{name}.weight', (outputs, inputs, 1, 1)
        yield f'decode_head.{name}.bias', (outputs,)


def on_meta(name):
    with torch.device('meta'):
        return build_architecture(open_clip.get_model_config(name))


@pytest.mark.parametrize('name', ['ViT-B-16-quickgelu', *RESNETS])
def test_the_full_size_published_keys_map_onto_the_tower_and_nothing_else(name):
    manifest = (
        {**VIT_B16_BACKBONE, 'decode_head.proj.weight': (512, 768, 1, 1)}
        if name.startswith('ViT')
        else dict(resnet_manifest(*RESNETS[name]))
    )
    published = {key: torch.empty(shape, device='meta') for key, shape in manifest.items()}
    ours = {f'visual.{key}': tuple(v.shape) for key, v in on_meta(name).visual.state_dict().items()}
    ours.pop('visual.attnpool.positional_embedding', None)
    assert {key: tuple(v.shape) for key, v in from_maskclip(published).items()} == ours


@pytest.mark.parametrize('name', ['ViT-B-16-quickgelu', 'ViT-B-32-quickgelu', 'RN50-quickgelu'])
def test_the_full_size_openai_keys_convert_to_the_published_ones(name):
    state = {k: torch.empty(v.shape, device='meta') for k, v in on_meta(name).state_dict().items()}
    converted = {key: tuple(value.shape) for key, value in to_maskclip(state).items()}
    if name == 'ViT-B-16-quickgelu':
        assert converted == {**VIT_B16_BACKBONE, 'decode_head.proj.weight': (512, 768, 1, 1)}
    elif name == 'RN50-quickgelu':
        assert converted == dict(resnet_manifest(*RESNETS[name]))
    else:
        assert converted['backbone.pos_embed'] == (1, 50, 768)


@pytest.mark.parametrize('name', ['vit', 'resnet'])
def test_the_two_published_files_load_into_the_tower(name, tmp_path):
    clip = tiny_clip(name).model
    segmentor = to_maskclip(clip.state_dict())
    backbone = {k: v for k, v in segmentor.items() if k.startswith('backbone.')}
    torch.save({'meta': {}, 'state_dict': backbone}, tmp_path / 'backbone.pth')
    projections: dict = {'clip': {}}
    for key, value in segmentor.items():
        if key.startswith('decode_head.'):
            _, projection, field = key.split('.')
            # The files keep the kernels two-dimensional.
            projections.setdefault(projection, {})[field] = value.squeeze()
    torch.save(projections, tmp_path / 'weights.pth')
    state = read_maskclip_files([tmp_path / 'backbone.pth', tmp_path / 'weights.pth'])
    torch.manual_seed(1)
    other = build_architecture({**_config(name)})
    load_maskclip_visual(other.visual, state, 'test')
    for key, value in clip.visual.state_dict().items():
        if key != 'attnpool.positional_embedding':
            assert torch.equal(other.visual.state_dict()[key], value), key


def _config(name):
    from tiny_clip_models import MODELS

    return MODELS[name]


def test_foreign_keys_and_half_files_stop_the_loading(tmp_path):
    segmentor = to_maskclip(tiny_clip('vit').model.state_dict())
    with pytest.raises(UserError, match="'backbone.novelty' is not a key"):
        from_maskclip({**segmentor, 'backbone.novelty': torch.zeros(1)})
    del segmentor['decode_head.proj.weight']
    with pytest.raises(UserError, match='1 missing \\(proj\\)'):
        load_maskclip_visual(tiny_clip('vit').model.visual, segmentor, 'test')
    torch.save({'something': torch.zeros(1)}, tmp_path / 'other.pth')
    with pytest.raises(UserError, match='neither a MaskCLIP checkpoint'):
        read_maskclip_files([tmp_path / 'other.pth'])
