"""Names and shapes of the published checkpoints of SAM and DINO, written down from their sizes.

The files themselves are not here, so that what they hold is described independently of the modules
that take it; the modules are built at full size, without memory.
"""

from __future__ import annotations

import pytest
import torch

from ovseg.encoders.dino import build_dino
from ovseg.encoders.sam import PUBLISHED, load_sam
from ovseg.weight_files import describe_mismatch

# name: (width, blocks, heads, blocks that see the whole frame)
SAMS = {
    'vit_b': (768, 12, 12, (2, 5, 8, 11)),
    'vit_l': (1024, 24, 16, (5, 11, 17, 23)),
    'vit_h': (1280, 32, 16, (7, 15, 23, 31)),
}
# name: (width, patch); 12 blocks each
DINOS = {
    'dino_vits16': (384, 16),
    'dino_vits8': (384, 8),
    'dino_vitb16': (768, 16),
    'dino_vitb8': (768, 8),
}


def layer(name, outputs, *inputs):
    """Weight and bias of a linear layer or a convolution."""
    return {f'{name}.weight': (outputs, *inputs), f'{name}.bias': (outputs,)}


def norm(name, width):
    return layer(name, width)


def below(prefix, shapes):
    return {f'{prefix}.{name}': shape for name, shape in shapes.items()}


def dino_shapes(width, patch):
    shapes = {
        'cls_token': (1, 1, width),
        'pos_embed': (1, 1 + (224 // patch) ** 2, width),
        **layer('patch_embed.proj', width, 3, patch, patch),
        **norm('norm', width),
    }
    block = {
        **norm('norm1', width),
        **layer('attn.qkv', 3 * width, width),
        **layer('attn.proj', width, width),
        **norm('norm2', width),
        **layer('mlp.fc1', 4 * width, width),
        **layer('mlp.fc2', width, 4 * width),
    }
    for index in range(12):
        shapes |= below(f'blocks.{index}', block)
    return shapes


def sam_encoder_shapes(width, depth, heads, whole):
    shapes = {
        'pos_embed': (1, 64, 64, width),
        **layer('patch_embed.proj', width, 3, 16, 16),
        'neck.0.weight': (256, width, 1, 1),
        **norm('neck.1', 256),
        'neck.2.weight': (256, 256, 3, 3),
        **norm('neck.3', 256),
    }
    for index in range(depth):
        offsets = 2 * (64 if index in whole else 14) - 1
        block = {
            **norm('norm1', width),
            **layer('attn.qkv', 3 * width, width),
            **layer('attn.proj', width, width),
            'attn.rel_pos_h': (offsets, width // heads),
            'attn.rel_pos_w': (offsets, width // heads),
            **norm('norm2', width),
            **layer('mlp.lin1', 4 * width, width),
            **layer('mlp.lin2', width, 4 * width),
        }
        shapes |= below(f'blocks.{index}', block)
    return shapes


def sam_prompt_shapes():
    return {
        'pe_layer.positional_encoding_gaussian_matrix': (2, 128),
        **{f'point_embeddings.{kind}.weight': (1, 256) for kind in range(4)},
        'not_a_point_embed.weight': (1, 256),
        'no_mask_embed.weight': (1, 256),
        **layer('mask_downscaling.0', 4, 1, 2, 2),
        **norm('mask_downscaling.1', 4),
        **layer('mask_downscaling.3', 16, 4, 2, 2),
        **norm('mask_downscaling.4', 16),
        **layer('mask_downscaling.6', 256, 16, 1, 1),
    }


def attention_shapes(inner):
    return {
        **{k: s for part in 'qkv' for k, s in layer(f'{part}_proj', inner, 256).items()},
        **layer('out_proj', 256, inner),
    }


def three_layers(name, last):
    return {
        **layer(f'{name}.layers.0', 256, 256),
        **layer(f'{name}.layers.1', 256, 256),
        **layer(f'{name}.layers.2', last, 256),
    }


def sam_decoder_shapes():
    block = {
        **below('self_attn', attention_shapes(256)),
        **below('cross_attn_token_to_image', attention_shapes(128)),
        **below('cross_attn_image_to_token', attention_shapes(128)),
        **{k: s for place in range(1, 5) for k, s in norm(f'norm{place}', 256).items()},
        **layer('mlp.lin1', 2048, 256),
        **layer('mlp.lin2', 256, 2048),
    }
    shapes = {
        **below('transformer.layers.0', block),
        **below('transformer.layers.1', block),
        **below('transformer.final_attn_token_to_image', attention_shapes(128)),
        **norm('transformer.norm_final_attn', 256),
        'iou_token.weight': (1, 256),
        'mask_tokens.weight': (4, 256),
        # Transposed convolutions have their inputs first.
        'output_upscaling.0.weight': (256, 64, 2, 2),
        'output_upscaling.0.bias': (64,),
        **norm('output_upscaling.1', 64),
        'output_upscaling.3.weight': (64, 32, 2, 2),
        'output_upscaling.3.bias': (32,),
        **three_layers('iou_prediction_head', 4),
    }
    for mask in range(4):
        shapes |= three_layers(f'output_hypernetworks_mlps.{mask}', 32)
    return shapes


def as_state(shapes):
    return {name: torch.empty(shape, device='meta') for name, shape in shapes.items()}


@pytest.mark.parametrize('name', DINOS)
def test_dino_takes_exactly_the_published_keys(name):
    with torch.device('meta'):
        model = build_dino(name)
    state = as_state(dino_shapes(*DINOS[name]))
    assert describe_mismatch(model.state_dict(), state) == ''
    model.load_state_dict(state, strict=True, assign=True)


def test_every_published_sam_is_described():
    assert SAMS.keys() == PUBLISHED.keys()


@pytest.mark.parametrize('name', SAMS)
def test_sam_takes_exactly_the_published_keys(name):
    with torch.device('meta'):
        model = load_sam(name, 'random').model
    state = as_state(
        below('image_encoder', sam_encoder_shapes(*SAMS[name]))
        | below('prompt_encoder', sam_prompt_shapes())
        | below('mask_decoder', sam_decoder_shapes())
    )
    assert describe_mismatch(model.state_dict(), state) == ''
    model.load_state_dict(state, strict=True, assign=True)


@pytest.mark.parametrize(
    ('name', 'megabytes'), [('vit_b', 375.0), ('vit_l', 1249.5), ('vit_h', 2564.6)]
)
def test_a_described_sam_is_as_large_as_the_published_file(name, megabytes):
    shapes = [*sam_encoder_shapes(*SAMS[name]).values()]
    shapes += [*sam_prompt_shapes().values(), *sam_decoder_shapes().values()]
    weights = sum(torch.Size(shape).numel() for shape in shapes)
    # Weights in float32, and some kilobytes of names.
    assert 4 * weights / 1e6 == pytest.approx(megabytes, abs=0.3)
