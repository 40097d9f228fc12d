"""TIPSv2: timm's vision tower and a text tower, from the published files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from timm.layers import SwiGLUPacked
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.downloads import fetch_url
from ovseg.encoders.clip import LoadedCLIP
from ovseg.encoders.dino import timm_vit
from ovseg.encoders.hub_weights import HUB, find_hub_weights
from ovseg.encoders.masked_text import MaskedMeanTextTower
from ovseg.encoders.published import check_published
from ovseg.encoders.two_towers import TextCache, Towers, build_towers, is_of, wherever
from ovseg.errors import UserError
from ovseg.registry import MODELS
from ovseg.settings import read_settings
from ovseg.text.sentence_pieces import Bytes, SentencePieces
from ovseg.weight_files import load_strictly, read_state_dict, rename

TOKENIZER = 'https://storage.googleapis.com/tips_data/v1_0/checkpoints/tokenizer.model'
# The temperature that all published models have in their configuration; no file holds it.
_TEMPERATURE = 0.005065968260169029


@dataclass(frozen=True)
class TIPSv2Size:
    """An architecture.

    Attributes:
        width: D, of both towers and of the space that they share.
        layers: blocks of the vision tower.
        heads: of each.
        hidden: width of its MLPs.
        gated: whether they are SwiGLU, with a third of the weights more.
        text_layers: blocks of the text tower.
        text_hidden: width of its MLPs.
        text_heads: of each block; None for `heads`.
        image_size: pixels a side that the position table is for.
        patch: pixels a side of a patch.
        vocabulary: pieces that the text tower knows.
    """

    width: int
    layers: int
    heads: int
    hidden: int
    text_hidden: int
    gated: bool = False
    text_layers: int = 12
    text_heads: int | None = None
    image_size: int = 448
    patch: int = 14
    vocabulary: int = 32000


PUBLISHED: dict[str, TIPSv2Size] = {
    'tipsv2-b14': TIPSv2Size(768, 12, 12, 3072, 3072),
    'tipsv2-l14': TIPSv2Size(1024, 24, 16, 4096, 4096),
    'tipsv2-so400m14': TIPSv2Size(1152, 27, 16, 4304, 4304, text_layers=27),
    'tipsv2-g14': TIPSv2Size(1536, 40, 24, 4096, 6144, gated=True),
}

# Published names in timm's vision transformer and in our text tower.
_NAMES = (
    ('vision_encoder.register_tokens', 'visual.reg_token'),
    ('vision_encoder.blocks.{}.mlp.w12.*', 'visual.blocks.{}.mlp.fc1.*'),
    ('vision_encoder.blocks.{}.mlp.w3.*', 'visual.blocks.{}.mlp.fc2.*'),
    ('vision_encoder.*', 'visual.*'),
    ('text_encoder.*', 'text.*'),
)
# Of training alone: patches that were masked, and the temperature, where a file has it.
_UNREAD = ('vision_encoder.mask_token', 'temperature')


class TIPSv2Model(nn.Module):
    """Both towers, in one space of D dimensions.

    Args:
        size: of the towers.
        towers: which of them it has.
    """

    def __init__(self, size: TIPSv2Size, towers: Towers = 'both') -> None:
        super().__init__()
        if towers != 'text':
            self.visual = _vision_tower(size)
        if towers != 'vision':
            self.text = MaskedMeanTextTower(
                size.vocabulary,
                size.width,
                size.text_layers,
                size.text_heads or size.heads,
                size.text_hidden,
            )
        self.logit_scale = nn.Parameter(torch.tensor(-math.log(_TEMPERATURE)))

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """Embeddings (B, D) of images (B, 3, H, W) of the trained size, RGB in [0, 1]."""
        pooled = self.visual(image)
        return F.normalize(pooled, dim=-1) if normalize else pooled

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """Embeddings (P, D) of tokens (P, L) int64, filled up with 0."""
        rows = self.text(tokens)
        return F.normalize(rows, dim=-1) if normalize else rows


@dataclass(frozen=True)
class TIPSv2File:
    """A published file, see :class:`~ovseg.encoders.two_towers.ModelOfFiles`.

    Attributes:
        size: of the towers.
        path: of the file.
    """

    size: TIPSv2Size
    path: str

    def build(self, towers: Towers) -> nn.Module:
        """See :class:`~ovseg.encoders.two_towers.ModelOfFiles`."""
        state = from_published(
            read_state_dict(self.path, lambda name: is_of(towers, name, 'vision_encoder.'))
        )
        model = TIPSv2Model(self.size, towers)
        load_strictly(model, {**state, 'logit_scale': model.logit_scale.detach()}, self.path)
        return model


@MODELS.register_module('TIPSv2')
def load_tipsv2(
    model: str | Mapping[str, Any],
    pretrained: str | Path | None = None,
    tokenizer: str | Path | None = None,
    text_cache: TextCache = None,
) -> LoadedCLIP:
    """Returns a TIPSv2 with its weights and tokenizer.

    Args:
        model: a name (``'tipsv2-l14'``), or the fields of :class:`TIPSv2Size` as a dict.
        pretrained: None for the weights that belong to the name; the ``model.safetensors`` of a
            ``google/tipsv2-*``, its folder, or a repository of the hub (``'hf-hub:...'``); or
            ``'random'``.
        tokenizer: the published ``tokenizer.model``; None fetches it, or, with random weights,
            takes bytes for pieces.
        text_cache: see :func:`~ovseg.encoders.load_clip`.

    Raises:
        UserError: unknown name, weights that do not fit, or no network for the download.
        FileNotFoundError: there is no such file.

    Source: TIPSv2 (arXiv 2604.12012).
    """
    name = model if isinstance(model, str) else 'custom'
    size = _size_of(model)
    both: nn.Module
    weights = 'random'
    if pretrained == 'random':
        both = TIPSv2Model(size)
    else:
        if pretrained is None:
            if not isinstance(model, str):
                raise UserError(
                    "clip.pretrained must name a file, or 'random', for a clip.model of yours"
                )
            pretrained = f'{HUB}google/{model}'
        path = wherever(find_hub_weights(pretrained, 'clip.pretrained'))
        both = build_towers(TIPSv2File(size, path), [path], text_cache)
        weights = Path(pretrained).name
    words: Bytes | SentencePieces
    if tokenizer is None and weights == 'random':
        words = Bytes(size.vocabulary)
    else:
        words = SentencePieces(partial(_find_tokenizer, tokenizer))
    both.eval().requires_grad_(False)
    return LoadedCLIP(both, words, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), name, weights)


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the names of :class:`TIPSv2Model` for the tensors of a published file.

    Args:
        state: tensors by their published names. A name that is in no table stays as it is, and is
            refused as unexpected where the tensors are loaded.
    """
    found = {
        rename(name, _NAMES) or name: value for name, value in state.items() if name not in _UNREAD
    }
    table = found.get('visual.pos_embed')
    if table is not None and 'visual.cls_token' in found:
        # timm keeps no position for the class token: it never changes, so it can be added once.
        found['visual.cls_token'] = found['visual.cls_token'] + table[:, :1]
        found['visual.pos_embed'] = table[:, 1:]
    return found


def _find_tokenizer(path: str | Path | None) -> str | Path:
    return fetch_url(TOKENIZER, 'clip.tokenizer') if path is None else path


def _size_of(model: str | Mapping[str, Any]) -> TIPSv2Size:
    if not isinstance(model, str):
        return read_settings(TIPSv2Size, model, 'clip.model')
    check_published(model, PUBLISHED, 'clip.model')
    return PUBLISHED[model]


def _vision_tower(size: TIPSv2Size) -> VisionTransformer:
    gated: dict[str, Any] = {'mlp_layer': SwiGLUPacked, 'act_layer': nn.SiLU}
    # timm's packed layer counts both halves of the gate.
    hidden = 2 * size.hidden if size.gated else size.hidden
    return timm_vit(
        {
            'img_size': size.image_size,
            'patch_size': size.patch,
            'embed_dim': size.width,
            'depth': size.layers,
            'num_heads': size.heads,
            # timm rounds down what is a whole number here.
            'mlp_ratio': (hidden + 0.5) / size.width,
            'reg_tokens': 1,
            'init_values': 1.0,
            'no_embed_class': True,
            **(gated if size.gated else {}),
        },
        'clip.model',
    )
