"""The tiny CLIP's towers as those that a SAM 3 starts with, as SAM 3's are those of a CLIP, too."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ovseg.encoders.sam3_format import detector_state
from ovseg.encoders.tiny import TOKENS, build_tiny_clip
from ovseg.errors import UserError
from ovseg.scenes.known_words import known_names
from ovseg.scenes.world import COLORS, OBJECTS
from ovseg.weight_files import rename

# Of SAM 3's levels, the one that phrases attend to.
_COARSEST = 2
_TRUNK = 'backbone.vision_backbone.trunk.'
_TEXT = 'backbone.language_backbone.encoder.'
_BLOCK, _AUTHORS = 'visual.transformer.resblocks.{}.', f'{_TRUNK}blocks.{{}}.'
# open_clip's names and those of SAM 3's authors; the pooling has no place in SAM 3.
_NAMES = (
    ('visual.conv1.*', f'{_TRUNK}patch_embed.proj.*'),
    ('visual.positional_embedding', f'{_TRUNK}pos_embed'),
    ('visual.ln_pre.*', f'{_TRUNK}ln_pre.*'),
    *((f'{_BLOCK}ln_{n}.*', f'{_AUTHORS}norm{n}.*') for n in (1, 2)),
    (f'{_BLOCK}attn.in_proj_*', f'{_AUTHORS}attn.qkv.*'),
    (f'{_BLOCK}attn.out_proj.*', f'{_AUTHORS}attn.proj.*'),
    (f'{_BLOCK}mlp.c_fc.*', f'{_AUTHORS}mlp.fc1.*'),
    (f'{_BLOCK}mlp.c_proj.*', f'{_AUTHORS}mlp.fc2.*'),
    *((name, _TEXT + name) for name in (TOKENS, 'positional_embedding', 'text_projection')),
    ('transformer.*', f'{_TEXT}transformer.*'),
    ('ln_final.*', f'{_TEXT}ln_final.*'),
)


@torch.no_grad()
def start_at_towers(model: Any, name: str, token_ids: Tensor) -> None:
    """Gives a SAM 3 the towers of an embedded CLIP, and its space to what follows them.

    SAM 3 tiles the table of positions and attends in windows of its size, so each window starts as
    a picture of the CLIP's size. Its rotary positions and the missing class token are new to the
    weights; blocks beyond the CLIP's start as the identity. Phrases and the coarsest level then
    start in the CLIP's space, as far as the names of Scenes span it, and the detector's encoder by
    asking which places are like the phrase.

    Args:
        model: transformers' ``Sam3Model``, changed in place.
        name: of the embedded CLIP.
        token_ids: ids of the rows of the token embedding, in their order.

    Raises:
        UserError: no such CLIP, or towers of another size.
    """
    clip, tokenizer, mean, std = build_tiny_clip(name)
    state = {
        new: value.clone()
        for old, value in clip.state_dict().items()
        if (new := rename(old, _NAMES)) is not None
    }
    state[_TEXT + TOKENS] = state[_TEXT + TOKENS][token_ids]
    state[f'{_TRUNK}pos_embed'] = state[f'{_TRUNK}pos_embed'][None]
    _renormalise(state, mean, std)
    own = model.state_dict()
    for key, value in detector_state(state).items():
        if key not in own or own[key].shape != value.shape:
            found = 'none' if key not in own else tuple(own[key].shape)
            raise UserError(
                f"model.sam3 does not fit the towers of '{name}': {key} is {tuple(value.shape)} "
                f'there, {found} here'
            )
        own[key].copy_(value)
    blocks = model.vision_encoder.backbone.layers
    tower: Any = clip.visual
    for block in blocks[len(tower.transformer.resblocks) :]:
        for last in (block.attention.o_proj, block.mlp.fc2):
            nn.init.zeros_(last.weight)
    _join(model, clip, tokenizer)


def _join(model: Any, clip: Any, tokenizer: Any) -> None:
    """Puts words and patches in one space: of the CLIP's, the part that tells names apart."""
    pairs = [f'{color} {kind}' for color in COLORS for kind in OBJECTS]
    found = clip.encode_text(tokenizer([*known_names(), *pairs]))
    centre = found.mean(0)
    width = model.text_projection.out_features
    basis = torch.linalg.svd(found - centre, full_matrices=False).Vh[:width]  # (C, D)
    if len(basis) < width:
        raise UserError(
            f'the fpn_hidden_size of model.sam3 is {width}; a space of the CLIP has up to '
            f'{len(basis)} dimensions'
        )
    size = width**0.5 / (found - centre).norm(dim=1).mean()
    model.text_projection.weight.copy_(size * basis @ clip.text_projection.T)
    model.text_projection.bias.copy_(-size * basis @ centre)
    # The norm before the pooling, of tokens as long as the average one of the CLIP's own.
    norm, level = clip.visual.ln_post, model.vision_encoder.neck.fpn_layers[_COARSEST]
    joint = basis @ clip.visual.proj.T
    weight = joint * norm.weight
    level.proj1.weight.copy_((weight - weight.mean(1, keepdim=True))[..., None, None])
    level.proj1.bias.copy_(joint @ norm.bias)
    nn.init.dirac_(level.proj2.weight)
    for layer in model.detr_encoder.layers:
        for part in (layer.cross_attn.q_proj, layer.cross_attn.k_proj):
            nn.init.eye_(part.weight)


def _renormalise(state: dict[str, Tensor], mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Has the patch embedding read pixels in [-1, 1] instead of those of the CLIP."""
    kernel = state[f'{_TRUNK}patch_embed.proj.weight']
    scale = (0.5 / kernel.new_tensor(std)).view(1, 3, 1, 1)
    shift = ((0.5 - kernel.new_tensor(mean)) / kernel.new_tensor(std)).view(1, 3, 1, 1)
    # The embedding has no bias: what the shift adds goes to every position.
    state[f'{_TRUNK}pos_embed'] = state[f'{_TRUNK}pos_embed'] + (kernel * shift).sum((1, 2, 3))
    state[f'{_TRUNK}patch_embed.proj.weight'] = kernel * scale
