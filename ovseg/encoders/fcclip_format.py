"""The checkpoint format of FC-CLIP and MAFT+ (detectron2's names): keys both ways.

A published file has ``backbone.clip_model.*`` (a whole open_clip model), ``sem_seg_head.*``
(Mask2Former), ``void_embedding.weight`` and, in MAFT+, ``cdt.*`` and a second CLIP,
``backbone_t.*``, that taught the first one. Ours has ``clip.*`` as open_clip names it,
``proposals.*`` as mmdet names Mask2Former, and ``transfer.*``.

Source: bytedance/fc-clip and jiaosiyu1999/MAFT-Plus for the names.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ovseg.errors import UserError
from ovseg.weight_files import inverse, rename

# {} is a number and * the rest; both stay.
_PIXEL_LAYER = (
    ('self_attn.*', 'self_attn.*'),
    ('linear1.*', 'ffn.layers.0.0.*'),
    ('linear2.*', 'ffn.layers.1.*'),
    ('norm1.*', 'norms.0.*'),
    ('norm2.*', 'norms.1.*'),
)
_PIXEL_DECODER = (
    ('input_proj.{}.0.*', 'input_convs.{}.conv.*'),
    ('input_proj.{}.1.*', 'input_convs.{}.gn.*'),
    ('transformer.level_embed', 'level_encoding.weight'),
    *(
        (f'transformer.encoder.layers.{{}}.{a}', f'encoder.layers.{{}}.{b}')
        for a, b in _PIXEL_LAYER
    ),
    ('adapter_1.weight', 'lateral_convs.0.conv.weight'),
    ('adapter_1.norm.*', 'lateral_convs.0.gn.*'),
    ('layer_1.weight', 'output_convs.0.conv.weight'),
    ('layer_1.norm.*', 'output_convs.0.gn.*'),
    ('mask_features.*', 'mask_feature.*'),
)
_PREDICTOR_LAYERS = (
    ('cross_attention_layers.{}.multihead_attn.*', 'cross_attn.attn.*'),
    ('cross_attention_layers.{}.norm.*', 'norms.0.*'),
    ('self_attention_layers.{}.self_attn.*', 'self_attn.attn.*'),
    ('self_attention_layers.{}.norm.*', 'norms.1.*'),
    ('ffn_layers.{}.linear1.*', 'ffn.layers.0.0.*'),
    ('ffn_layers.{}.linear2.*', 'ffn.layers.1.*'),
    ('ffn_layers.{}.norm.*', 'norms.2.*'),
)
# Of both MLPs; ours has the activations between the layers as modules of the same list.
_MLP_LAYERS = 3
_PREDICTOR = (
    *((f'transformer_{a}', f'transformer_decoder.layers.{{}}.{b}') for a, b in _PREDICTOR_LAYERS),
    ('decoder_norm.*', 'transformer_decoder.post_norm.*'),
    *(
        (f'{theirs}.layers.{n}.*', f'{ours}.{2 * n}.*')
        for theirs, ours in (('mask_embed', 'mask_embed'), ('class_embed', 'cls_embed'))
        for n in range(_MLP_LAYERS)
    ),
    ('_mask_pooling_proj.*', 'pooled_embed.*'),
    *(
        (f'{name}.weight', f'{name}.weight')
        for name in ('query_feat', 'query_embed', 'level_embed')
    ),
    ('logit_scale', 'logit_scale'),
)
_TRANSFER = (
    ('multihead_attn.*', 'attention.*'),
    ('norm.*', 'norm.*'),
    ('MLP.*', 'mlp.*'),
)
_NAMES = (
    *(
        (f'sem_seg_head.pixel_decoder.{a}', f'proposals.pixel_decoder.{b}')
        for a, b in _PIXEL_DECODER
    ),
    *((f'sem_seg_head.predictor.{a}', f'proposals.{b}') for a, b in _PREDICTOR),
    ('void_embedding.weight', 'proposals.non_object_embedding'),
    *((f'cdt.cross_atten.{a}', f'transfer.{b}') for a, b in _TRANSFER),
    ('backbone.clip_model.*', 'clip.*'),
    ('backbone_t.clip_model.visual.*', 'teacher.*'),
)
_PUBLISHED = ('sem_seg_head.', 'backbone.clip_model.', 'backbone_t.')
# Constants, and what old versions of open_clip saved of a mask that is always the same.
IGNORED = ('criterion.empty_weight', 'pixel_mean', 'pixel_std', 'backbone.clip_model.attn_mask')
# The rest of the teacher, its text tower and temperature, serves nobody.
_OF_TEACHER, _SERVES = 'backbone_t.', 'backbone_t.clip_model.visual.'
_WEIGHTS_OF_LOSS = 'criterion.empty_weight'


def from_fcclip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our keys for a published state dict; a state dict of ours passes as it is.

    Constants are left out (:data:`IGNORED`); a teacher's vision tower comes as ``teacher.*``.

    Args:
        state: tensors by name, on any device and of any precision.

    Raises:
        UserError: a key that the format does not have.
    """
    if not any(key.startswith(_PUBLISHED) for key in state):
        return dict(state)
    ours: dict[str, Tensor] = {}
    for key, value in state.items():
        if key in IGNORED or (key.startswith(_OF_TEACHER) and not key.startswith(_SERVES)):
            continue
        name = rename(key, _NAMES)
        if name is None:
            raise UserError(
                f"'{key}' is not a key of the published format of FC-CLIP or MAFT+; check which "
                'file it is'
            )
        ours[name] = value
    return ours


def loss_weights(num_classes: int, no_object_weight: float) -> dict[str, Tensor]:
    """The weights of the cross entropy, which a published file holds, too.

    Args:
        num_classes: that the decoder was trained with.
        no_object_weight: of void.
    """
    weights = torch.ones(num_classes + 1)
    weights[-1] = no_object_weight
    return {_WEIGHTS_OF_LOSS: weights}


def to_fcclip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published keys of a state dict of ours.

    Args:
        state: tensors by name, on any device.

    Raises:
        UserError: a key that the format has no name for.
    """
    names = inverse(list(_NAMES))
    published: dict[str, Tensor] = {}
    for key, value in state.items():
        name = rename(key, names)
        if name is None:
            raise UserError(f"the published format of FC-CLIP and MAFT+ has no name for '{key}'")
        published[name] = value
    return published
