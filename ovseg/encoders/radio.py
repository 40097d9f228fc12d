"""C-RADIO, versions 3 and 4: its published files in timm's vision transformer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timm.data.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from ovseg.encoders.dino import DINOEncoder, LoadedDINO, timm_vit
from ovseg.encoders.hub_weights import find_hub_weights
from ovseg.encoders.position import ResizeRule
from ovseg.encoders.published import check_published
from ovseg.errors import UserError
from ovseg.weight_files import load_strictly, read_state_dict, rename

_KEY = 'companion.pretrained (or clip.pretrained)'
# The side that the table of positions is for, and the patch; all published ones have the same.
_SIDE, _PATCH = 2048, 16


@dataclass(frozen=True)
class _Published:
    """An architecture and where its weights are.

    Attributes:
        repository: on the hub.
        size: width, blocks, heads.
        prefix: class tokens and registers together.
        layer_scale: whether its blocks have it.
        hidden: width of the MLPs; None for four times the width.
    """

    repository: str
    size: tuple[int, int, int]
    prefix: int
    layer_scale: bool = False
    hidden: int | None = None


# By the names of NVlabs/RADIO. Licence of all: NVIDIA Open Model License.
PUBLISHED: dict[str, _Published] = {
    'c-radio_v3-b': _Published('nvidia/C-RADIOv3-B', (768, 12, 12), 8, layer_scale=True),
    'c-radio_v3-l': _Published('nvidia/C-RADIOv3-L', (1024, 24, 16), 8, layer_scale=True),
    'c-radio_v3-h': _Published('nvidia/C-RADIOv3-H', (1280, 32, 16), 8),
    'c-radio_v3-g': _Published('nvidia/C-RADIOv3-g', (1536, 40, 24), 8),
    'c-radio_v4-so400m': _Published('nvidia/C-RADIOv4-SO400M', (1152, 27, 16), 10, hidden=4304),
    'c-radio_v4-h': _Published('nvidia/C-RADIOv4-H', (1280, 32, 16), 10),
}

# Names of NVIDIA's files, and of timm's naflexvit_*_radio_*, in timm's vision transformer. A name
# that is in no table stays as it is, and is refused as unexpected.
_NVIDIA = (
    ('radio_model.model.patch_generator.embedder.weight', 'patch_embed.proj.weight'),
    ('radio_model.model.patch_generator.pos_embed', 'pos_embed'),
    ('radio_model.model.patch_generator.cls_token.token', 'prefix'),
    ('radio_model.model.blocks.{}.ls1.grandma', 'blocks.{}.ls1.gamma'),
    ('radio_model.model.blocks.{}.ls2.grandma', 'blocks.{}.ls2.gamma'),
    ('radio_model.model.blocks.*', 'blocks.*'),
    ('radio_model.input_conditioner.norm_mean', 'mean'),
    ('radio_model.input_conditioner.norm_std', 'std'),
    ('radio_model.summary_idxs', 'summary'),
)
_NAFLEX = (
    ('embeds.proj.*', 'patch_embed.proj.*'),
    ('embeds.*', '*'),
)


@dataclass(frozen=True)
class LoadedRADIO(LoadedDINO):
    """A frozen C-RADIO with what belongs to its weights.

    Attributes:
        summary: which of the prefix tokens are a picture's summary; empty where nothing says so.
    """

    summary: tuple[int, ...] = ()


def load_radio(
    model: str | Mapping[str, Any],
    pretrained: str | Path | None = None,
    align_corners: bool = False,
) -> LoadedRADIO:
    """Returns a C-RADIO with its weights.

    Args:
        model: a name (``'c-radio_v3-l'``), or the arguments of timm's ``VisionTransformer`` as a
            dict: ``img_size`` of the table of positions, ``reg_tokens`` all prefix tokens but the
            first, ``init_values`` for layer scale.
        pretrained: None for the weights that belong to the name; a file of NVIDIA's (``model.
            safetensors`` of ``nvidia/C-RADIO*``) or of timm's ``naflexvit_*_radio_*``; a folder
            with such a file; a repository of the hub (``'hf-hub:timm/...'``); or ``'random'``.
        align_corners: read the table of positions corner to corner, as NVIDIA's code did until
            June 2025 and timm does for v3-B and v3-H. Published numbers since are without.

    Raises:
        UserError: unknown name, weights of another model, tensors that have no place in this one,
            or no network for the download.
        FileNotFoundError: there is no such file.
    """
    vit = build_radio(model)
    mean, std, weights, summary = OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, 'random', ()
    if pretrained != 'random':
        if pretrained is None:
            if not isinstance(model, str):
                raise UserError(
                    "radio.pretrained must name a file, or 'random', for a radio.model of yours"
                )
            pretrained = f'hf-hub:{PUBLISHED[model].repository}'
        weights = Path(pretrained).name
        state = from_published(read_state_dict(find_hub_weights(pretrained, _KEY)))
        mean, std, summary = (
            tuple(state.pop(name).flatten().tolist()) if name in state else default
            for name, default in (('mean', mean), ('std', std), ('summary', ()))
        )
        load_strictly(vit, state, pretrained)
    vit = vit.eval().requires_grad_(False)
    rule: ResizeRule = 'radio_corners' if align_corners else 'radio'
    return LoadedRADIO(vit, mean, std, weights, rule, summary)


def build_radio(model: str | Mapping[str, Any]) -> VisionTransformer:
    """Returns a C-RADIO with random weights.

    Args:
        model: see :func:`load_radio`.

    Raises:
        UserError: unknown name, or arguments that timm does not know.
    """
    if isinstance(model, str):
        check_published(model, PUBLISHED, 'radio.model')
        row = PUBLISHED[model]
        width, depth, heads = row.size
        model = {
            **{'embed_dim': width, 'depth': depth, 'num_heads': heads},
            'mlp_ratio': 4.0 if row.hidden is None else row.hidden / width,
            'reg_tokens': row.prefix - 1,
            'init_values': 1.0 if row.layer_scale else None,
        }
    own = {'img_size': _SIDE, 'patch_size': _PATCH, 'no_embed_class': True, 'final_norm': False}
    return timm_vit({**own, **model}, 'radio.model')


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns timm's names for the tensors of a published file.

    Beside weights there may be ``mean``, ``std`` and ``summary``, which are none.

    Args:
        state: tensors by their published names, NVIDIA's or those of timm's ``naflexvit``.
    """
    is_nvidias = any(name.startswith('radio_model.') for name in state)
    names = _NVIDIA if is_nvidias else _NAFLEX
    found = {rename(name, names) or name: value for name, value in state.items()}
    if 'prefix' in found and found['prefix'].ndim == 2:
        prefix = found.pop('prefix')[None]
        found['cls_token'], found['reg_token'] = prefix[:, :1], prefix[:, 1:]
    table = found.get('pos_embed')
    if table is not None and table.ndim == 4:
        found['pos_embed'] = table.flatten(1, 2)
    patches = found.get('patch_embed.proj.weight')
    if patches is not None and patches.ndim == 2 and patches.shape[1] % 3 == 0:
        side = round((patches.shape[1] / 3) ** 0.5)
        if side * side * 3 == patches.shape[1]:
            # A linear layer over patches: NVIDIA's have the channels first, timm's the pixels.
            channels_first = (
                patches.unflatten(1, (3, side, side))
                if is_nvidias
                else (patches.unflatten(1, (side, side, 3)).permute(0, 3, 1, 2))
            )
            found['patch_embed.proj.weight'] = channels_first
        if is_nvidias:
            found['patch_embed.proj.bias'] = patches.new_zeros(len(patches))
    return found


class RADIOEncoder(DINOEncoder):
    """Patch maps of C-RADIO: a projection of its last attention, or its final tokens.

    Args:
        radio: from :func:`load_radio`. Its model is read, never written or hooked.

    Source: RADIOv2.5 (arXiv 2412.07679); positions as in its released code.
    """

    def __init__(self, radio: LoadedRADIO) -> None:
        super().__init__(radio)
        self.summary_tokens = radio.summary
