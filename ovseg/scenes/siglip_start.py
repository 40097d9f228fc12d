"""Where the tiny SigLIP starts: at the tiny CLIP, written as a tower that pools by attention."""

from __future__ import annotations

from open_clip import CLIP
from torch import Tensor, nn

from ovseg.errors import UserError

# timm's names of what a block of open_clip's has.
_IN_BLOCK = {
    'ln_1': 'norm1',
    'ln_2': 'norm2',
    'attn.in_proj_': 'attn.qkv.',
    'attn.out_proj': 'attn.proj',
    'mlp.c_fc': 'mlp.fc1',
    'mlp.c_proj': 'mlp.fc2',
}
_TEXT = ('token_embedding.', 'positional_embedding', 'transformer.', 'ln_final.', 'text_projection')


def start_at_clip(siglip: nn.Module, clip: CLIP) -> None:
    """Gives a SigLIP the weights of a CLIP that averages its patches, so that both say the same.

    An average is attention with one query of zeros, whose values and projection are CLIP's linear
    projection, and an MLP that adds nothing yet. What CLIP's class token told its patches in the
    blocks is lost: the new tower has none. Its bias is its own.

    Args:
        siglip: open_clip's ``CustomTextCLIP``, changed in place. Its vision tower is timm's
            ``VisionTransformer`` of the CLIP's sizes, with ``global_pool='map'``, a norm before
            the blocks and no class token.
        clip: with average pooling; all rows of the token embedding that `siglip` has.

    Raises:
        UserError: the sizes of the two differ.
    """
    own, theirs = siglip.state_dict(), clip.state_dict()
    state = {**own, **_vision(theirs), **_pool(own, theirs), **_text(theirs)}
    state['logit_scale'] = theirs['logit_scale']
    different = sorted(set(state) ^ set(own)) or [
        key for key, value in state.items() if value.shape != own[key].shape
    ]
    if different:
        raise UserError(
            f'model.start: the weights of this CLIP do not fit ({different[0]}); the tower needs '
            'its sizes, a norm before the blocks and no class token'
        )
    siglip.load_state_dict(state)


def _vision(clip: dict[str, Tensor]) -> dict[str, Tensor]:
    state = {
        'patch_embed.proj.weight': clip['visual.conv1.weight'],
        'pos_embed': clip['visual.positional_embedding'][None, 1:],
    }
    for ours, theirs in (('norm_pre', 'ln_pre'), ('norm', 'ln_post')):
        for kind in ('weight', 'bias'):
            state[f'{ours}.{kind}'] = clip[f'visual.{theirs}.{kind}']
    before = 'visual.transformer.resblocks.'
    for key, value in clip.items():
        if key.startswith(before):
            number, name = key.removeprefix(before).split('.', 1)
            for part, renamed in _IN_BLOCK.items():
                name = name.replace(part, renamed)
            state[f'blocks.{number}.{name}'] = value
    return {f'visual.trunk.{key}': value for key, value in state.items()}


def _pool(own: dict[str, Tensor], clip: dict[str, Tensor]) -> dict[str, Tensor]:
    pool = 'visual.trunk.attn_pool.'
    state = {key: value.clone() for key, value in own.items() if key.startswith(pool)}
    for key in ('latent', 'q.bias', 'kv.bias', 'proj.bias', 'mlp.fc2.weight', 'mlp.fc2.bias'):
        state[pool + key].zero_()
    values = state[pool + 'kv.weight'].chunk(2)[1]
    nn.init.eye_(values)
    state[pool + 'proj.weight'] = clip['visual.proj'].T.contiguous()
    return state


def _text(clip: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f'text.{key}': value for key, value in clip.items() if key.startswith(_TEXT)}
