"""The checkpoint format of the published OVSeg (detectron2's names): keys both ways.

A published file has ``backbone.*`` (Swin, or ResNet with a DeepLab stem), ``sem_seg_head.*``
(MaskFormer), ``clip_adapter.clip_model.*`` (both towers of the mask-adapted CLIP),
``clip_adapter.non_object_embedding`` and three buffers of constants. Ours has ``backbone.*`` as
mmseg names it, ``proposals.*`` as mmdet names MaskFormer, and ``clip.*``.

Traps: mmseg's patch merging takes the four pixels of a window in another order. Files older than
the pixel decoder's own prefix lack it; detectron2 tells them by a version that a file saved again
as a plain dict has lost, and then puts the prefix twice. Here the names themselves tell.

Source: facebookresearch/ov-seg for the names; the numbers were compared layer by layer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor

from ovseg.errors import UserError
from ovseg.weight_files import inverse, rename

# {} is a number and * the rest; both stay.
_SWIN = (
    ('patch_embed.proj.*', 'patch_embed.projection.*'),
    ('patch_embed.norm.*', 'patch_embed.norm.*'),
    ('layers.{}.blocks.{}.norm{}.*', 'stages.{}.blocks.{}.norm{}.*'),
    ('layers.{}.blocks.{}.attn.*', 'stages.{}.blocks.{}.attn.w_msa.*'),
    ('layers.{}.blocks.{}.mlp.fc1.*', 'stages.{}.blocks.{}.ffn.layers.0.0.*'),
    ('layers.{}.blocks.{}.mlp.fc2.*', 'stages.{}.blocks.{}.ffn.layers.1.*'),
    ('layers.{}.downsample.*', 'stages.{}.downsample.*'),
    ('norm{}.*', 'norm{}.*'),
)
_RESNET = (
    *((f'stem.conv{n}.weight', f'stem.{3 * n - 3}.weight') for n in (1, 2, 3)),
    *((f'stem.conv{n}.norm.*', f'stem.{3 * n - 2}.*') for n in (1, 2, 3)),
    *(
        (f'res{stage}.{{}}.{theirs}', f'layer{stage - 1}.{{}}.{ours}')
        for stage in (2, 3, 4, 5)
        for theirs, ours in (
            ('conv{}.weight', 'conv{}.weight'),
            ('conv{}.norm.*', 'bn{}.*'),
            ('shortcut.weight', 'downsample.0.weight'),
            ('shortcut.norm.*', 'downsample.1.*'),
        )
    ),
)
_BACKBONE = (*_SWIN, *_RESNET)

_CONVOLUTIONS = (
    *((f'adapter_{n}', f'lateral_convs.{n - 1}') for n in (1, 2, 3)),
    *((f'layer_{n}', f'output_convs.{n - 1}') for n in (1, 2, 3)),
    ('layer_4', 'last_feat_conv'),
)
_LAYER = (
    ('self_attn.*', 'self_attn.attn.*'),
    ('multihead_attn.*', 'cross_attn.attn.*'),
    ('linear1.*', 'ffn.layers.0.0.*'),
    ('linear2.*', 'ffn.layers.1.*'),
    *((f'norm{n}.*', f'norms.{n - 1}.*') for n in (1, 2, 3)),
)
# More than any published MLP has.
_DEEPEST_MLP = 8
_MASKFORMER = (
    *(
        (f'pixel_decoder.{theirs}.weight', f'pixel_decoder.{ours}.conv.weight')
        for theirs, ours in _CONVOLUTIONS
    ),
    *(
        (f'pixel_decoder.{theirs}.norm.*', f'pixel_decoder.{ours}.gn.*')
        for theirs, ours in _CONVOLUTIONS
    ),
    ('pixel_decoder.mask_features.*', 'pixel_decoder.mask_feature.*'),
    ('predictor.input_proj.*', 'decoder_input_proj.*'),
    ('predictor.query_embed.*', 'query_embed.*'),
    *(
        (
            f'predictor.transformer.decoder.layers.{{}}.{theirs}',
            f'transformer_decoder.layers.{{}}.{ours}',
        )
        for theirs, ours in _LAYER
    ),
    ('predictor.transformer.decoder.norm.*', 'transformer_decoder.post_norm.*'),
    # Ours has the activations between the layers as modules of the same list.
    *(
        (f'predictor.{theirs}.layers.{n}.*', f'{ours}.{2 * n}.*')
        for theirs, ours in (('mask_embed', 'mask_embed'), ('class_embed', 'cls_embed'))
        for n in range(_DEEPEST_MLP)
    ),
)
_CLIP = 'clip_adapter.clip_model.'
_NAMES = (
    *((f'backbone.{theirs}', f'backbone.{ours}') for theirs, ours in _BACKBONE),
    *((f'sem_seg_head.{theirs}', f'proposals.{ours}') for theirs, ours in _MASKFORMER),
    ('clip_adapter.non_object_embedding', 'proposals.non_object_embedding'),
)
_CONSTANTS = ('criterion.empty_weight', 'clip_adapter.pixel_mean', 'clip_adapter.pixel_std')
_PUBLISHED = ('sem_seg_head.', 'clip_adapter.')
_TRAINING_CLASSES = 171
_NO_OBJECT_WEIGHT = 0.1

_MERGING = re.compile(r'(?:.+\.)?(?:layers|stages)\.\d+\.downsample\..+')
# Swin lists the pixels of a window column by column, an unfold row by row.
_PIXEL_ORDER = [0, 2, 1, 3]
_COUNTER = '.num_batches_tracked'


def from_ovseg(
    state: Mapping[str, Tensor], visual: str = 'clip.visual.', text: str = 'clip.'
) -> dict[str, Tensor]:
    """Our keys for a published state dict; a state dict of ours passes as it is.

    The constants (class weights of the loss, CLIP's pixel statistics) are left out.

    Args:
        state: tensors by name, on any device.
        visual: prefix of the mask-prompted vision tower in our model.
        text: prefix of the text tower and ``logit_scale``.

    Raises:
        UserError: a key that the format does not have.
    """
    if not any(key.startswith(_PUBLISHED) for key in state):
        return dict(state)
    names = _with_clip(visual, text)
    ours: dict[str, Tensor] = {}
    for key, value in state.items():
        if key in _CONSTANTS:
            continue
        name = rename(_with_pixel_decoder(key), names)
        if name is None:
            raise UserError(
                f"'{key}' is not a key of OVSeg's published format; check which file it is"
            )
        ours[name] = _merging_order(value, 'ours') if _MERGING.fullmatch(key) else value
    return ours


def to_ovseg(
    state: Mapping[str, Tensor],
    visual: str = 'clip.visual.',
    text: str = 'clip.',
    num_classes: int = _TRAINING_CLASSES,
) -> dict[str, Tensor]:
    """The published keys of a state dict of ours, constants included.

    Args:
        state: tensors by name, on any device.
        visual: see :func:`from_ovseg`.
        text: see :func:`from_ovseg`.
        num_classes: that MaskFormer was trained with.

    Raises:
        UserError: a key that the format has no name for.
    """
    names = inverse(_with_clip(visual, text))
    published: dict[str, Tensor] = {}
    for key, value in state.items():
        if key.endswith(_COUNTER):
            continue  # detectron2's frozen batch norm has none
        name = rename(key, names)
        if name is None:
            raise UserError(f"OVSeg's published format has no name for '{key}'")
        published[name] = _merging_order(value, 'theirs') if _MERGING.fullmatch(key) else value
    published.update(_constants(num_classes))
    return published


def backbone_from_ovseg(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our keys for a backbone of detectron2's format alone, without any prefix.

    Args:
        state: such as a pretrained DeepLab-stem ResNet.

    Raises:
        UserError: a key that neither backbone has.
    """
    ours: dict[str, Tensor] = {}
    for key, value in state.items():
        name = rename(key, _BACKBONE)
        if name is None:
            raise UserError(f"'{key}' is no key of a Swin or of a ResNet with a DeepLab stem")
        ours[name] = _merging_order(value, 'ours') if _MERGING.fullmatch(key) else value
    return ours


def _with_clip(visual: str, text: str) -> list[tuple[str, str]]:
    return [*_NAMES, (f'{_CLIP}visual.*', f'{visual}*'), (f'{_CLIP}*', f'{text}*')]


def _with_pixel_decoder(key: str) -> str:
    """The key in the new style, where the pixel decoder has a prefix of its own."""
    head, _, rest = key.partition('.')
    if head != 'sem_seg_head' or rest.startswith('predictor.'):
        return key
    while rest.startswith('pixel_decoder.'):
        rest = rest.removeprefix('pixel_decoder.')
    return f'sem_seg_head.pixel_decoder.{rest}'


def _merging_order(value: Tensor, target: str) -> Tensor:
    """Reorders the last axis of patch merging: (4 pixels, C) there, (C, 4 pixels) here."""
    if target == 'ours':
        return value.unflatten(-1, (4, -1))[..., _PIXEL_ORDER, :].mT.flatten(-2)
    return value.unflatten(-1, (-1, 4)).mT[..., _PIXEL_ORDER, :].flatten(-2)


def _constants(num_classes: int) -> dict[str, Tensor]:
    weights = torch.ones(num_classes + 1)
    weights[-1] = _NO_OBJECT_WEIGHT
    statistics = (
        255 * torch.tensor(values).reshape(1, 3, 1, 1)
        for values in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)
    )
    return dict(zip(_CONSTANTS, (weights, *statistics), strict=True))
