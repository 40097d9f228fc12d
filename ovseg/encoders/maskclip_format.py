"""The file formats of the published MaskCLIP: key names both ways, and loading.

Published files (specs of the release): ``ViT16_clip_backbone.pth`` (``backbone.*`` keys under
``state_dict``), ``ViT16_clip_weights.pth`` (``proj`` or ``q_proj, k_proj, v_proj, c_proj``, each a
dict of 2-D tensors, beside a copy of CLIP under ``clip``), ``*_clip_text.pth`` (one float tensor
[C, D]), and whole segmentors (``backbone.*`` and ``decode_head.*``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor, nn

from ovseg.errors import UserError
from ovseg.weight_files import (
    inverse,
    load_strictly,
    read_tensors,
    rename,
    state_of,
)

# (OpenAI's name under `visual.`, MaskCLIP's name under `backbone.`); {} is a number that stays.
_VIT_NAMES = (
    ('class_embedding', 'cls_token'),
    ('positional_embedding', 'pos_embed'),
    ('conv1.weight', 'patch_embed.projection.weight'),
    ('ln_pre.*', 'ln0.*'),
    ('ln_post.*', 'ln1.*'),
    ('transformer.resblocks.{}.ln_1.*', 'layers.{}.ln1.*'),
    ('transformer.resblocks.{}.ln_2.*', 'layers.{}.ln2.*'),
    ('transformer.resblocks.{}.attn.*', 'layers.{}.attn.attn.*'),
    ('transformer.resblocks.{}.mlp.c_fc.*', 'layers.{}.ffn.layers.0.0.*'),
    ('transformer.resblocks.{}.mlp.c_proj.*', 'layers.{}.ffn.layers.1.*'),
)
_RESNET_NAMES = (
    ('conv1.*', 'stem.0.*'),
    ('bn1.*', 'stem.1.*'),
    ('conv2.*', 'stem.3.*'),
    ('bn2.*', 'stem.4.*'),
    ('conv3.*', 'stem.6.*'),
    ('bn3.*', 'stem.7.*'),
    ('layer{}.{}.downsample.0.*', 'layer{}.{}.downsample.1.*'),
    ('layer{}.{}.downsample.1.*', 'layer{}.{}.downsample.2.*'),
    ('layer{}.{}.conv{}.*', 'layer{}.{}.conv{}.*'),
    ('layer{}.{}.bn{}.*', 'layer{}.{}.bn{}.*'),
)
_VIT_PROJECTIONS = ('proj',)
_RESNET_PROJECTIONS = ('q_proj', 'k_proj', 'v_proj', 'c_proj')


def to_maskclip(clip_state: dict[str, Tensor]) -> dict[str, Tensor]:
    """MaskCLIP's segmentor keys for the vision tower of an OpenAI-format state dict.

    Args:
        clip_state: with ``visual.*`` keys; other keys are ignored.

    Returns:
        ``backbone.*`` and ``decode_head.{proj | q,k,v,c_proj}.*``, float32, projections as 1x1
        convolutions. The text embeddings are not part of CLIP and not included.

    Raises:
        UserError: a visual key that the format has no place for.
    """
    visual = {k.removeprefix('visual.'): v for k, v in clip_state.items() if k[:7] == 'visual.'}
    is_vit = 'proj' in visual
    names = _VIT_NAMES if is_vit else _RESNET_NAMES
    state: dict[str, Tensor] = {}
    for key, value in visual.items():
        value = value if not value.is_floating_point() else value.float()
        if key == 'proj':
            state['decode_head.proj.weight'] = value.T[:, :, None, None].contiguous()
        elif key == 'attnpool.positional_embedding':
            continue  # the dense readout has no use for it and the format drops it
        elif key.startswith('attnpool.'):
            kernel = value[:, :, None, None] if value.ndim == 2 else value
            state[f'decode_head.{key.removeprefix("attnpool.")}'] = kernel
        else:
            name = rename(key, names)
            if name is None:
                raise UserError(f"MaskCLIP's format has no name for 'visual.{key}'")
            if key == 'class_embedding':
                value = value[None, None]
            elif key == 'positional_embedding':
                value = value[None]
            state[f'backbone.{name}'] = value
    return state


def from_maskclip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of :func:`to_maskclip`: ``visual.*`` keys in OpenAI's format.

    Args:
        state: a segmentor's keys; ``decode_head.text_embeddings`` is left out.

    Raises:
        UserError: a key that is not of the format.
    """
    names = _VIT_NAMES if 'backbone.cls_token' in state else _RESNET_NAMES
    back = inverse(names)
    visual: dict[str, Tensor] = {}
    for key, value in state.items():
        part, _, rest = key.partition('.')
        if key == 'decode_head.text_embeddings':
            continue
        if key == 'decode_head.proj.weight':
            visual['visual.proj'] = value[:, :, 0, 0].T.contiguous()
        elif part == 'decode_head' and rest.split('.')[0] in _RESNET_PROJECTIONS:
            matrix = value[:, :, 0, 0] if value.ndim == 4 else value
            visual[f'visual.attnpool.{rest}'] = matrix
        elif part == 'backbone' and (name := rename(rest, back)) is not None:
            if rest == 'cls_token':
                value = value[0, 0]
            elif rest == 'pos_embed':
                value = value[0]
            visual[f'visual.{name}'] = value
        else:
            raise UserError(f"'{key}' is not a key of MaskCLIP's published format")
    return visual


def read_maskclip_files(paths: Iterable[str | Path]) -> dict[str, Tensor]:
    """Returns the segmentor keys held by one or more published files.

    Args:
        paths: a segmentor checkpoint, or the backbone file and the projection file.

    Raises:
        UserError: a file is none of the published kinds.
        FileNotFoundError: there is no such file.
    """
    state: dict[str, Tensor] = {}
    for path in paths:
        content = read_tensors(path)
        if isinstance(content, dict) and isinstance(content.get('state_dict'), dict):
            state.update(state_of(content, path))
            continue
        projections = {
            name: state_of(content[name], path)
            for name in _VIT_PROJECTIONS + _RESNET_PROJECTIONS
            if isinstance(content, dict) and isinstance(content.get(name), Mapping)
        }
        if not projections:
            raise UserError(
                f'{path} is neither a MaskCLIP checkpoint (state_dict) nor a file of projections '
                '(proj, or q_proj, k_proj, v_proj, c_proj); check which file it is'
            )
        for name, tensors in projections.items():
            for field, value in tensors.items():
                # The files keep the matrices two-dimensional, the segmentor has 1x1 convolutions.
                kernel = value[:, :, None, None] if value.ndim == 2 else value
                state[f'decode_head.{name}.{field}'] = kernel.float()
    return state


def load_maskclip_visual(visual: nn.Module, state: dict[str, Tensor], origin: object) -> None:
    """Loads the vision tower from MaskCLIP's keys, strictly.

    Args:
        visual: open_clip's ``VisionTransformer`` or ``ModifiedResNet``.
        state: MaskCLIP's keys, see :func:`read_maskclip_files`.
        origin: where they come from, for messages.

    Raises:
        UserError: keys or shapes that do not fit. Of a ResNet only the attention pooling's
            position embedding is exempt: the format has none.
    """
    tower = {k.removeprefix('visual.'): v for k, v in from_maskclip(state).items()}
    own = visual.state_dict()
    position = 'attnpool.positional_embedding'
    if position in own:
        tower.setdefault(position, own[position])
    load_strictly(visual, tower, origin)
