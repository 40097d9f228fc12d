"""Published files of CLIPs, whatever names their weights have there, into open_clip's models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed
from open_clip.timm_model import TimmModel
from torch import Tensor, nn

from ovseg.encoders.two_towers import Towers, is_of
from ovseg.errors import UserError
from ovseg.weight_files import load_strictly

# LongCLIP keeps the positions that CLIP had learned well, and trains others for those behind.
_KEPT_POSITIONS = 20
_LONG = 'positional_embedding_res'
# DIVA's training saves CLIP inside of itself, with the diffusion model that taught it beside it.
_INSIDE_DIVA = 'class_model.model.'
_BESIDE_DIVA = ('class_model.', 'visual_proj.', 'vae.', 'unet.', 'text_encoder.')
_VISION = 'visual.'
_TEXT = (
    *('transformer.', 'token_embedding.', 'positional_embedding', 'ln_final.'),
    *('text_projection', 'text.'),
)
# open_clip turns the names of both towers of MobileCLIP's own files at once.
_APPLES = 'image_encoder.'


def may_be_of(towers: Towers, name: str) -> bool:
    """Whether a tensor of a published file may belong to wanted towers; in doubt it does.

    Args:
        towers: that are wanted.
        name: in the file.
    """
    other = {'both': (), 'vision': _TEXT, 'text': (_VISION,)}[towers]
    return not name.startswith(other)


def needs_both(names: Iterable[str]) -> bool:
    """Whether a file's text tower can be loaded beside the vision tower alone.

    Args:
        names: of the tensors in the file.
    """
    return any(name.startswith(_APPLES) for name in names)


def plain_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a published file by the names that OpenAI or open_clip would give them.

    LongCLIP's two tables of positions become the one that it reads; DIVA's CLIP is taken out of its
    training. All other files are returned as they are.

    Args:
        state: tensors by name.

    Raises:
        UserError: LongCLIP's two tables are not of the same shape.

    Source: Long-CLIP (arXiv 2403.15378), section 3.1, and ``model_longclip.py`` of
    beichenzbc/Long-CLIP for the names; ``SD_with_OpenAICLIP.py`` of baaivision/DIVA.
    """
    if any(name.startswith(_INSIDE_DIVA) for name in state):
        inside = {
            name.removeprefix(_INSIDE_DIVA): value
            for name, value in state.items()
            if name.startswith(_INSIDE_DIVA) or not name.startswith(_BESIDE_DIVA)
        }
        return plain_names(inside)
    plain = dict(state)
    if _LONG in plain:
        first, behind = plain['positional_embedding'], plain.pop(_LONG)
        if first.shape != behind.shape:
            raise UserError(
                f'positional_embedding {tuple(first.shape)} and {_LONG} {tuple(behind.shape)} of a '
                'LongCLIP file must be of one shape; get the file again'
            )
        plain['positional_embedding'] = torch.cat(
            [first[:_KEPT_POSITIONS], behind[_KEPT_POSITIONS:]]
        )
    return plain


def with_context_of(state: Mapping[str, Tensor], config: dict[str, Any]) -> dict[str, Any]:
    """A model config with the context length of a LongCLIP file; for others it stays as it is.

    Args:
        state: of the file, as it is there.
        config: of open_clip's.
    """
    if _LONG not in state:
        return config
    return {**config, 'text_cfg': {**config['text_cfg'], 'context_length': len(state[_LONG])}}


def load_clip_weights(
    clip: Any, state: dict[str, Tensor], origin: object, towers: Towers = 'both'
) -> None:
    """Loads a state dict in OpenAI's, open_clip's or a format that open_clip converts, strictly.

    Args:
        clip: an open_clip model, or what there is of it.
        state: tensors by name; half precision is cast to the model's dtype.
        origin: where they come from, for messages.
        towers: that `clip` has; weights of others are left out.

    Raises:
        UserError: a key is missing, unexpected or of another shape.
    """
    state = convert_state_dict(clip, dict(state))
    if 'positional_embedding' in state and not hasattr(clip, 'positional_embedding'):
        state = convert_to_custom_text_state_dict(state)
    if 'logit_scale' in state:
        state['logit_scale'] = state['logit_scale'].reshape(clip.logit_scale.shape)
    # Transformers' text towers saved this buffer until 4.31; it is arange(n).
    state.pop('text.transformer.embeddings.position_ids', None)
    if towers != 'text':
        resize_pos_embed(state, clip)
    wanted = {name: value for name, value in state.items() if is_of(towers, name)}
    load_strictly(clip, wanted, origin)


def load_vision_weights(visual: nn.Module, state: Mapping[str, Tensor], origin: object) -> None:
    """Loads a vision tower, strictly.

    Args:
        visual: of an open_clip model.
        state: of a whole CLIP, of which the vision tower is taken, or of a vision tower with or
            without ``visual.`` in front; of a timm tower also by timm's own names.
        origin: where it comes from, for messages.

    Raises:
        UserError: a key is missing, unexpected or of another shape.
    """
    names = plain_names(state)
    tower = {
        name.removeprefix(_VISION): value
        for name, value in names.items()
        if name.startswith(_VISION)
    }
    tower = tower or names
    if isinstance(visual, TimmModel) and not any(name.startswith('trunk.') for name in tower):
        tower = {f'trunk.{name}': value for name, value in tower.items()}
    load_strictly(visual, tower, origin)
