"""SigLIP's text tower by itself: for vision encoders that were taught its space."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from open_clip import model as open_clip_model
from torch import Tensor, nn

from ovseg.encoders.clip_registry import architecture_config, locate_weights
from ovseg.encoders.hub_weights import HUB, find_hub_weights
from ovseg.encoders.two_towers import wherever
from ovseg.errors import UserError
from ovseg.text.tokenizer import HubTokenizer, build_tokenizer
from ovseg.weight_files import is_there, load_strictly, read_state_dict, rename

_KEY = 'clip.text.pretrained'
# Names of transformers in open_clip's tower; the three projections are joined first.
_TRANSFORMERS = (
    ('embeddings.token_embedding.*', 'token_embedding.*'),
    ('embeddings.position_embedding.weight', 'positional_embedding'),
    ('encoder.layers.{}.layer_norm1.*', 'transformer.resblocks.{}.ln_1.*'),
    ('encoder.layers.{}.layer_norm2.*', 'transformer.resblocks.{}.ln_2.*'),
    ('encoder.layers.{}.self_attn.in_proj_*', 'transformer.resblocks.{}.attn.in_proj_*'),
    ('encoder.layers.{}.self_attn.out_proj.*', 'transformer.resblocks.{}.attn.out_proj.*'),
    ('encoder.layers.{}.mlp.fc1.*', 'transformer.resblocks.{}.mlp.c_fc.*'),
    ('encoder.layers.{}.mlp.fc2.*', 'transformer.resblocks.{}.mlp.c_proj.*'),
    ('final_layer_norm.*', 'ln_final.*'),
    ('head.*', 'text_projection.*'),
)
_IN_TRANSFORMERS, _IN_OPEN_CLIP = 'text_model.', 'text.'
_VISION = ('vision_model.', 'visual.')


@dataclass(frozen=True)
class SigLIPText:
    """A text tower in a file, or one with random weights, and what belongs to it.

    Attributes:
        config: open_clip's, of the model that it is a part of.
        tokenizer: its tokenizer.
        path: of the file; None for random weights.
        weights: tag, file name or ``'random'``.
    """

    config: Mapping[str, Any]
    tokenizer: HubTokenizer = field(repr=False)
    path: str | None
    weights: str

    @property
    def embed_dim(self) -> int:
        """D of its space."""
        return self.config['embed_dim']

    def build(self) -> nn.Module:
        """The tower, frozen: tokens (P, L) int64 to embeddings (P, D).

        Raises:
            UserError: weights that do not fit.
        """
        tower = open_clip_model._build_text_tower(self.embed_dim, self.config['text_cfg'])
        if self.path is not None:
            state = read_state_dict(self.path, _is_text)
            load_strictly(tower, from_published(state, self.path), self.path)
        return tower.eval().requires_grad_(False)

    def logit_scale(self) -> Tensor | None:
        """Logarithm of the factor that it was trained to, a scalar; None where no file has one."""
        if self.path is None:
            return None
        return read_state_dict(self.path, lambda name: name == 'logit_scale').get('logit_scale')


def find_siglip_text(
    model: str | Mapping[str, Any],
    pretrained: str | Path,
    tokenizer: str | Path | None = None,
) -> SigLIPText:
    """Returns a text tower of SigLIP's with its tokenizer; nothing is built yet.

    Args:
        model: name of an open_clip architecture (``'ViT-SO400M-16-SigLIP2-512'``), or an open_clip
            model config as a dict, of which ``embed_dim`` and ``text_cfg`` are read.
        pretrained: a tag of open_clip's; a file of open_clip's or transformers' with the tower,
            alone or beside others; its folder, or a repository of the hub (``'hf-hub:google/...'``
            with one ``model.safetensors``); or ``'random'``.
        tokenizer: folder or hub name instead of the architecture's.

    Raises:
        UserError: unknown architecture or tag, weights that do not fit, no network for the
            download, or a tokenizer that cannot be read.
        FileNotFoundError: there is no such file.
    """
    named = isinstance(model, str)
    config = architecture_config(model) if isinstance(model, str) else deepcopy(dict(model))
    tokens = build_tokenizer(config['text_cfg'], tokenizer, canonical=True)
    if pretrained == 'random':
        return SigLIPText(config, tokens, None, 'random')
    if str(pretrained).startswith(HUB) or is_there(pretrained) or not named:
        path = find_hub_weights(pretrained, _KEY)
    else:
        path, _ = locate_weights(str(model), pretrained, quick_gelu=False)
    return SigLIPText(config, tokens, wherever(path), Path(pretrained).name)


def _is_text(name: str) -> bool:
    return not name.startswith(_VISION)


def from_published(state: Mapping[str, Tensor], origin: object) -> dict[str, Tensor]:
    """Returns open_clip's names for the text tower of a published file.

    Args:
        state: tensors by their published names, transformers' or open_clip's. What is no part of
            the text tower is left out; a part with a name that is in no table is kept, and refused
            as unexpected where the tensors are loaded.
        origin: where they come from, for the message.

    Raises:
        UserError: there is no text tower among them.
    """
    for prefix in (_IN_TRANSFORMERS, _IN_OPEN_CLIP):
        tower = {
            name.removeprefix(prefix): value
            for name, value in state.items()
            if name.startswith(prefix)
        }
        if tower:
            break
    else:
        raise UserError(
            f'{origin} has no text tower (text_model.* of transformers, text.* of open_clip); give '
            f'a file of SigLIP as {_KEY}'
        )
    if prefix == _IN_OPEN_CLIP:
        return tower
    tower.pop('embeddings.position_ids', None)  # arange(n), in files of older versions
    for name in [name for name in tower if '.self_attn.q_proj.' in name]:
        parts = [tower.pop(name.replace('.q_proj.', f'.{part}_proj.'), None) for part in 'qkv']
        if all(part is not None for part in parts):
            tower[name.replace('.q_proj.', '.in_proj_')] = torch.cat(
                [part for part in parts if part is not None]
            )
    return {rename(name, _TRANSFORMERS) or name: value for name, value in tower.items()}
