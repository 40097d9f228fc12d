"""Names and shapes of OVSeg's published checkpoints, written down from their sizes.

The files themselves are not here, so that what they hold is described independently of the modules
that take it.
"""

from __future__ import annotations

from dataclasses import dataclass

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Clip:
    width: int
    blocks: int
    patch: int
    embed: int
    text_width: int


VIT_L14 = Clip(1024, 24, 14, 768, 768)
VIT_B16 = Clip(768, 12, 16, 512, 512)
RES5_CHANNELS = {'swin': (128, 256, 512, 1024), 'r101c': (256, 512, 1024, 2048)}


def swin_b_vit_l() -> Shapes:
    """954 entries."""
    return {
        **below('backbone', swin()),
        **below('sem_seg_head', head(RES5_CHANNELS['swin'], 768)),
        **below('clip_adapter', adapter(VIT_L14)),
        'criterion.empty_weight': (172,),
    }


def r101c_vit_b() -> Shapes:
    """983 entries."""
    return {
        **below('backbone', resnet()),
        **below('sem_seg_head', head(RES5_CHANNELS['r101c'], 512)),
        **below('clip_adapter', adapter(VIT_B16)),
        'criterion.empty_weight': (172,),
    }


def affine(name: str, outputs: int, *inputs: int) -> Shapes:
    return {f'{name}.weight': (outputs, *inputs), f'{name}.bias': (outputs,)}


def below(prefix: str, shapes: Shapes) -> Shapes:
    return {f'{prefix}.{name}': shape for name, shape in shapes.items()}


def swin(
    width: int = 128,
    depths: tuple[int, ...] = (2, 2, 18, 2),
    heads: tuple[int, ...] = (4, 8, 16, 32),
    window: int = 12,
) -> Shapes:
    shapes = affine('patch_embed.proj', width, 3, 4, 4) | affine('patch_embed.norm', width)
    for stage, (depth, head_count) in enumerate(zip(depths, heads, strict=True)):
        channels = width * 2**stage
        block = {
            **affine('norm1', channels),
            **affine('norm2', channels),
            'attn.relative_position_bias_table': ((2 * window - 1) ** 2, head_count),
            'attn.relative_position_index': (window**2, window**2),
            **affine('attn.qkv', 3 * channels, channels),
            **affine('attn.proj', channels, channels),
            **affine('mlp.fc1', 4 * channels, channels),
            **affine('mlp.fc2', channels, 4 * channels),
        }
        for index in range(depth):
            shapes |= below(f'layers.{stage}.blocks.{index}', block)
        if stage < len(depths) - 1:
            merging = {'reduction.weight': (2 * channels, 4 * channels)}
            shapes |= below(f'layers.{stage}.downsample', merging | affine('norm', 4 * channels))
        shapes |= affine(f'norm{stage}', channels)
    return shapes


def resnet(blocks: tuple[int, ...] = (3, 4, 23, 3)) -> Shapes:
    def convolution(name: str, outputs: int, inputs: int, side: int) -> Shapes:
        statistics = ('weight', 'bias', 'running_mean', 'running_var')
        norm = {f'{name}.norm.{key}': (outputs,) for key in statistics}
        return {f'{name}.weight': (outputs, inputs, side, side), **norm}

    shapes = convolution('stem.conv1', 64, 3, 3)
    shapes |= convolution('stem.conv2', 64, 64, 3) | convolution('stem.conv3', 128, 64, 3)
    inputs = 128
    for stage, count in enumerate(blocks):
        inner, outputs = 64 * 2**stage, 256 * 2**stage
        for index in range(count):
            block = convolution('conv1', inner, inputs, 1) | convolution('conv2', inner, inner, 3)
            block |= convolution('conv3', outputs, inner, 1)
            if index == 0:
                block |= convolution('shortcut', outputs, inputs, 1)
            shapes |= below(f'res{stage + 2}.{index}', block)
            inputs = outputs
    return shapes


def head(channels: tuple[int, ...], embed: int) -> Shapes:
    pixel = affine('mask_features', 256, 256, 3, 3)
    for level, width in enumerate(channels[:3], start=1):
        pixel[f'adapter_{level}.weight'] = (256, width, 1, 1)
        pixel[f'layer_{level}.weight'] = (256, 256, 3, 3)
        pixel |= affine(f'adapter_{level}.norm', 256) | affine(f'layer_{level}.norm', 256)
    pixel['layer_4.weight'] = (256, channels[3], 3, 3)
    pixel |= affine('layer_4.norm', 256)
    layer = {
        **below('self_attn', attention(256)),
        **below('multihead_attn', attention(256)),
        **affine('linear1', 2048, 256),
        **affine('linear2', 256, 2048),
        **affine('norm1', 256),
        **affine('norm2', 256),
        **affine('norm3', 256),
    }
    predictor = affine('transformer.decoder.norm', 256) | {'query_embed.weight': (100, 256)}
    for index in range(6):
        predictor |= below(f'transformer.decoder.layers.{index}', layer)
    predictor |= affine('input_proj', 256, channels[3], 1, 1)
    for index in range(3):
        predictor |= affine(f'mask_embed.layers.{index}', 256, 256)
    predictor |= affine('class_embed.layers.0', 1024, 256)
    predictor |= affine('class_embed.layers.1', embed, 1024)
    return below('pixel_decoder', pixel) | below('predictor', predictor)


def attention(width: int) -> Shapes:
    return {
        'in_proj_weight': (3 * width, width),
        'in_proj_bias': (3 * width,),
        **affine('out_proj', width, width),
    }


def blocks(width: int, count: int) -> Shapes:
    block = {
        **below('attn', attention(width)),
        **affine('ln_1', width),
        **affine('ln_2', width),
        **affine('mlp.c_fc', 4 * width, width),
        **affine('mlp.c_proj', width, 4 * width),
    }
    shapes: Shapes = {}
    for index in range(count):
        shapes |= below(f'transformer.resblocks.{index}', block)
    return shapes


def visual(clip: Clip) -> Shapes:
    patches = (224 // clip.patch) ** 2
    return {
        'class_embedding': (clip.width,),
        'positional_embedding': (patches + 1, clip.width),
        'proj': (clip.width, clip.embed),
        'conv1.weight': (clip.width, 3, clip.patch, clip.patch),
        'mask_embedding': (3, patches, clip.width),
        **affine('ln_pre', clip.width),
        **affine('ln_post', clip.width),
        **blocks(clip.width, clip.blocks),
    }


def text(clip: Clip) -> Shapes:
    return {
        **blocks(clip.text_width, 12),
        'token_embedding.weight': (49408, clip.text_width),
        'positional_embedding': (77, clip.text_width),
        'text_projection': (clip.text_width, clip.embed),
        'logit_scale': (),
        **affine('ln_final', clip.text_width),
    }


def adapter(clip: Clip) -> Shapes:
    return {
        'non_object_embedding': (1, clip.embed),
        'pixel_mean': (1, 3, 1, 1),
        'pixel_std': (1, 3, 1, 1),
        **below('clip_model.visual', visual(clip)),
        **below('clip_model', text(clip)),
    }
