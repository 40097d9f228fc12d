"""SAM 2's weights under the names of its authors' files, as transformers' classes have them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ovseg.weight_files import rename

_TRUNK, _OUR_TRUNK = 'image_encoder.trunk.', 'vision_encoder.backbone.'
_BLOCK, _OUR_BLOCK = f'{_TRUNK}blocks.{{}}.', f'{_OUR_TRUNK}blocks.{{}}.'
_PROMPT, _OUR_PROMPT = 'sam_prompt_encoder.', 'prompt_encoder.'
_DECODER, _OUR_DECODER = 'sam_mask_decoder.', 'mask_decoder.'
_LAYER, _OUR_LAYER = (
    f'{_DECODER}transformer.layers.{{}}.',
    f'{_OUR_DECODER}transformer.layers.{{}}.',
)
# A head of three layers: the authors count them.
_HEADS = ('iou_prediction_head', 'pred_obj_score_head', 'output_hypernetworks_mlps.{}')
_OF_THREE = (('layers.0', 'proj_in'), ('layers.1', 'layers.0'), ('layers.2', 'proj_out'))
_OF_TWO = (('layers.0', 'proj_in'), ('layers.1', 'proj_out'))
_ATTENTIONS = ('self_attn', 'cross_attn_token_to_image', 'cross_attn_image_to_token')
_FINAL = 'transformer.final_attn_token_to_image'

# The first that fits counts.
_NAMES = (
    (f'{_TRUNK}patch_embed.proj.*', f'{_OUR_TRUNK}patch_embed.projection.*'),
    *((f'{_BLOCK}norm{n}.*', f'{_OUR_BLOCK}layer_norm{n}.*') for n in (1, 2)),
    *((f'{_BLOCK}mlp.{one}.*', f'{_OUR_BLOCK}mlp.{other}.*') for one, other in _OF_TWO),
    (f'{_TRUNK}*', f'{_OUR_TRUNK}*'),
    ('image_encoder.neck.convs.{}.conv.*', 'vision_encoder.neck.convs.{}.*'),
    (
        f'{_PROMPT}pe_layer.positional_encoding_gaussian_matrix',
        f'{_OUR_PROMPT}shared_embedding.positional_embedding',
    ),
    *(
        (f'{_PROMPT}mask_downscaling.{number}.*', f'{_OUR_PROMPT}mask_embed.{name}.*')
        for number, name in (
            *((0, 'conv1'), (1, 'layer_norm1'), (3, 'conv2'), (4, 'layer_norm2'), (6, 'conv3')),
        )
    ),
    (f'{_PROMPT}*', f'{_OUR_PROMPT}*'),
    *(
        (f'{_DECODER}output_upscaling.{number}.*', f'{_OUR_DECODER}{name}.*')
        for number, name in ((0, 'upscale_conv1'), (1, 'upscale_layer_norm'), (3, 'upscale_conv2'))
    ),
    *(
        (f'{_DECODER}{head}.{one}.*', f'{_OUR_DECODER}{head}.{other}.*')
        for head in _HEADS
        for one, other in _OF_THREE
    ),
    *((f'{_LAYER}norm{n}.*', f'{_OUR_LAYER}layer_norm{n}.*') for n in (1, 2, 3, 4)),
    *((f'{_LAYER}mlp.{one}.*', f'{_OUR_LAYER}mlp.{other}.*') for one, other in _OF_TWO),
    *((f'{_LAYER}{name}.out_proj.*', f'{_OUR_LAYER}{name}.o_proj.*') for name in _ATTENTIONS),
    (f'{_DECODER}{_FINAL}.out_proj.*', f'{_OUR_DECODER}{_FINAL}.o_proj.*'),
    (
        f'{_DECODER}transformer.norm_final_attn.*',
        f'{_OUR_DECODER}transformer.layer_norm_final_attn.*',
    ),
    (f'{_DECODER}*', f'{_OUR_DECODER}*'),
    ('no_mem_embed', 'no_memory_embedding'),
)
# Of the parts for videos.
_OF_VIDEOS = (
    *('memory_attention.', 'memory_encoder.', 'mask_downsample.', 'obj_ptr_', 'no_obj_'),
    *('maskmem_tpos_enc', 'no_mem_pos_enc'),
)
_POINTS = f'{_PROMPT}point_embeddings.'


def is_authors(state: Mapping[str, Tensor]) -> bool:
    """Whether weights have the names of the authors' files.

    Args:
        state: tensors by name.
    """
    return any(name.startswith(_DECODER) for name in state)


def from_authors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under transformers' names, without the parts for videos.

    Args:
        state: of the authors' file; names that are none of it stay, for the loader to refuse.
    """
    points = sorted(name for name in state if name.startswith(_POINTS))
    renamed = {
        rename(name, _NAMES) or name: value
        for name, value in state.items()
        if name not in points and not name.startswith(_OF_VIDEOS)
    }
    if points:  # of the labels 0 and 1 and of a box's two corners
        embedded = torch.cat([state[name] for name in points])
        renamed[f'{_OUR_PROMPT}point_embed.weight'] = embedded
    # One matrix for points and for places of the image.
    matrix = renamed.get(f'{_OUR_PROMPT}shared_embedding.positional_embedding')
    if matrix is not None:
        renamed['shared_image_embedding.positional_embedding'] = matrix
    return renamed
