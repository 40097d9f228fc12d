"""SAM 3's detector under its authors' names and the hub's, as transformers has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from ovseg.weight_files import rename

_TRUNK, _OUR_TRUNK = 'backbone.vision_backbone.trunk.', 'vision_encoder.backbone.'
_BLOCK, _OUR_BLOCK = f'{_TRUNK}blocks.{{}}.', f'{_OUR_TRUNK}layers.{{}}.'
_CONV, _OUR_CONV = 'backbone.vision_backbone.convs.{}.', 'vision_encoder.neck.fpn_layers.{}.'
_TEXT, _OUR_TEXT = 'backbone.language_backbone.encoder.', 'text_encoder.text_model.'
_RES, _OUR_RES = f'{_TEXT}transformer.resblocks.{{}}.', f'{_OUR_TEXT}encoder.layers.{{}}.'
_ENCODER, _OUR_ENCODER = 'transformer.encoder.layers.{}.', 'detr_encoder.layers.{}.'
_GEOMETRY, _OUR_GEOMETRY = 'geometry_encoder.encode.{}.', 'geometry_encoder.layers.{}.'
_DECODER, _OUR_DECODER = 'transformer.decoder.', 'detr_decoder.'
_LAYER, _OUR_LAYER = f'{_DECODER}layers.{{}}.', f'{_OUR_DECODER}layers.{{}}.'
_HEADS = (
    ('bbox_embed', 'box_head'),
    ('presence_token_head', 'presence_head'),
    ('ref_point_head', 'ref_point_head'),
    ('boxRPB_embed_x', 'box_rpb_embed_x'),
    ('boxRPB_embed_y', 'box_rpb_embed_y'),
)
_MASKS, _OUR_MASKS = 'segmentation_head.', 'mask_decoder.'
_SCORING, _OUR_SCORING = 'dot_prod_scoring.', 'dot_product_scoring.'

# The first that fits counts; a name of no row is that of transformers already.
_NAMES = (
    (f'{_TRUNK}pos_embed', f'{_OUR_TRUNK}embeddings.position_embeddings'),
    (f'{_TRUNK}patch_embed.proj.*', f'{_OUR_TRUNK}embeddings.patch_embeddings.projection.*'),
    (f'{_TRUNK}ln_pre.*', f'{_OUR_TRUNK}layer_norm.*'),
    *((f'{_BLOCK}norm{n}.*', f'{_OUR_BLOCK}layer_norm{n}.*') for n in (1, 2)),
    (f'{_BLOCK}attn.qkv.*', f'{_OUR_BLOCK}attention.in_proj_*'),
    (f'{_BLOCK}attn.proj.*', f'{_OUR_BLOCK}attention.o_proj.*'),
    (f'{_BLOCK}mlp.*', f'{_OUR_BLOCK}mlp.*'),
    (f'{_CONV}dconv_2x2_1.*', f'{_OUR_CONV}scale_layers.2.*'),
    *((f'{_CONV}dconv_2x2{end}.*', f'{_OUR_CONV}scale_layers.0.*') for end in ('_0', '')),
    *((f'{_CONV}conv_{n}x{n}.*', f'{_OUR_CONV}proj{i}.*') for i, n in ((1, 1), (2, 3))),
    (f'{_TEXT}token_embedding.*', f'{_OUR_TEXT}embeddings.token_embedding.*'),
    (f'{_TEXT}positional_embedding', f'{_OUR_TEXT}embeddings.position_embedding.weight'),
    (f'{_TEXT}ln_final.*', f'{_OUR_TEXT}final_layer_norm.*'),
    (f'{_TEXT}text_projection', 'text_encoder.text_projection.weight'),
    *((f'{_RES}ln_{n}.*', f'{_OUR_RES}layer_norm{n}.*') for n in (1, 2)),
    (f'{_RES}attn.*', f'{_OUR_RES}self_attn.*'),
    (f'{_RES}mlp.c_fc.*', f'{_OUR_RES}mlp.fc1.*'),
    (f'{_RES}mlp.c_proj.*', f'{_OUR_RES}mlp.fc2.*'),
    ('backbone.language_backbone.resizer.*', 'text_projection.*'),
    *(
        (f'{layer}{one}.*', f'{ours}{other}.*')
        for layer, ours in ((_ENCODER, _OUR_ENCODER), (_GEOMETRY, _OUR_GEOMETRY))
        for one, other in (
            *(('cross_attn_image.out_proj', 'cross_attn.o_proj'),),
            *(('self_attn.out_proj', 'self_attn.o_proj'), ('cross_attn_image', 'cross_attn')),
            *(('self_attn', 'self_attn'), ('linear1', 'mlp.fc1'), ('linear2', 'mlp.fc2')),
            *((f'norm{n}', f'layer_norm{n}') for n in (1, 2, 3)),
        )
    ),
    ('geometry_encoder.img_pre_norm.*', 'geometry_encoder.vision_layer_norm.*'),
    ('geometry_encoder.norm.*', 'geometry_encoder.prompt_layer_norm.*'),
    ('geometry_encoder.encode_norm.*', 'geometry_encoder.output_layer_norm.*'),
    *(
        (f'{_LAYER}{one}.*', f'{_OUR_LAYER}{other}.*')
        for theirs, ours in (
            ('self_attn', 'self_attn'),
            ('ca_text', 'text_cross_attn'),
            ('cross_attn', 'vision_cross_attn'),
        )
        for one, other in ((f'{theirs}.out_proj', f'{ours}.o_proj'), (theirs, ours))
    ),
    # The numbers are of another order than the attentions.
    *(
        (f'{_LAYER}{one}.*', f'{_OUR_LAYER}{other}.*')
        for one, other in (
            *(('linear1', 'mlp.fc1'), ('linear2', 'mlp.fc2'), ('norm3', 'mlp_layer_norm')),
            ('norm1', 'vision_cross_attn_layer_norm'),
            ('norm2', 'self_attn_layer_norm'),
            ('catext_norm', 'text_cross_attn_layer_norm'),
        )
    ),
    *(
        (f'{_DECODER}{one}.layers.{n}.*', f'{_OUR_DECODER}{other}.layer{n + 1}.*')
        for one, other in _HEADS
        for n in (0, 1, 2)
    ),
    (f'{_DECODER}norm.*', f'{_OUR_DECODER}output_layer_norm.*'),
    (f'{_DECODER}presence_token_out_norm.*', f'{_OUR_DECODER}presence_layer_norm.*'),
    (f'{_DECODER}*', f'{_OUR_DECODER}*'),
    *(
        (f'{_SCORING}{one}.*', f'{_OUR_SCORING}{other}.*')
        for one, other in (
            *(
                ('prompt_mlp.layers.0', 'text_mlp.layer1'),
                ('prompt_mlp.layers.1', 'text_mlp.layer2'),
            ),
            *(('prompt_mlp.out_norm', 'text_mlp_out_norm'), ('prompt_proj', 'text_proj')),
            ('hs_proj', 'query_proj'),
        )
    ),
    (f'{_MASKS}mask_predictor.mask_embed.*', f'{_OUR_MASKS}mask_embedder.*'),
    (f'{_MASKS}instance_seg_head.*', f'{_OUR_MASKS}instance_projection.*'),
    (f'{_MASKS}semantic_seg_head.*', f'{_OUR_MASKS}semantic_projection.*'),
    (f'{_MASKS}cross_attend_prompt.out_proj.*', f'{_OUR_MASKS}prompt_cross_attn.o_proj.*'),
    (f'{_MASKS}cross_attend_prompt.*', f'{_OUR_MASKS}prompt_cross_attn.*'),
    (f'{_MASKS}cross_attn_norm.*', f'{_OUR_MASKS}prompt_cross_attn_norm.*'),
    (f'{_MASKS}*', f'{_OUR_MASKS}*'),
)
# The detector of the authors' file, and in the hub's file of the video model.
_DETECTORS = ('detector_model.', 'detector.', 'sam3_model.')
# The tracker of videos, in either format.
_OF_VIDEOS = ('tracker_model.', 'tracker_neck.', 'tracker.', 'sam2_predictor.')
# Of the authors' file: points as prompts, the tracker's neck, constants, another task's queries.
_UNUSED = (
    'geometry_encoder.points_',
    'backbone.vision_backbone.sam2_convs.',
    'transformer.decoder.instance_',
    'transformer.decoder.compilable_',
    'backbone.language_backbone.encoder.attn_mask',
)
_CONSTANTS = ('.freqs_cis', '.position_ids', '.attn_mask')


def is_authors(state: Mapping[str, Tensor]) -> bool:
    """Whether weights, of the detector alone, have the names of the authors' files.

    Args:
        state: tensors by name.
    """
    return any(name.startswith(_TRUNK) for name in state)


def detector_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of ``Sam3Model``, whichever of the published formats a file has.

    These are transformers' folder of ``Sam3Model``, that of the video model (``detector_model.``
    before the names; the hub's file), and the authors' file (``detector.`` before names of their
    own).

    Args:
        state: tensors by name; names that belong to none stay, for the loader to refuse.
    """
    plain: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.startswith(_OF_VIDEOS):
            continue
        start = next((one for one in _DETECTORS if name.startswith(one)), '')
        plain[name.removeprefix(start)] = value
    if is_authors(plain):
        plain = dict(_from_authors(plain))
    # Neither format's constants are weights.
    return {name: value for name, value in plain.items() if not name.endswith(_CONSTANTS)}


def _from_authors(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, value in state.items():
        if name.startswith(_UNUSED):
            continue
        ours = rename(name, _NAMES) or name
        if ours.endswith('.position_embeddings') and value.ndim == 3:
            side = int((value.shape[1] - 1) ** 0.5)
            # A class token in front, which the ViT does not have.
            value = value[:, 1:] if side * side == value.shape[1] - 1 else value
        elif ours == 'text_encoder.text_projection.weight':
            value = value.T.contiguous()
        place, is_fused, kind = ours.rpartition('.in_proj_')
        if not is_fused:
            yield ours, value
            continue
        for letter, part in zip('qkv', value.chunk(3), strict=True):
            yield f'{place}.{letter}_proj.{kind}', part.clone()
