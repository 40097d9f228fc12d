"""dino.txt: two blocks behind a frozen DINO, and a text tower, from the published files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import open_clip
import torch
from open_clip.transformer import TextTransformer
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import SwiGLU
from timm.models.eva import Eva
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.affinity.opened_blocks import BlockBehindNorm
from ovseg.downloads import fetch_url
from ovseg.encoders import dinov2, dinov3
from ovseg.encoders.clip import LoadedCLIP
from ovseg.encoders.published import check_published
from ovseg.encoders.timm_tower import TimmTower
from ovseg.encoders.two_towers import TextCache, Towers, build_towers, is_of, wherever
from ovseg.errors import UserError
from ovseg.registry import MODELS
from ovseg.settings import read_settings
from ovseg.weight_files import load_strictly, read_state_dict, rename

# Whose patches are asked: those of the head, or the backbone's, see `load_dinotxt`.
Reading = Literal['head', 'backbone']
_HOST = 'https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14'
_V2, _V3 = 'dinov2_vitl14_reg4_dinotxt_tet1280d20h24l', 'dinov3_vitl16_dinotxt_tet1280d20h24l'
# What a published one is trained from; no file of version 2 holds what it became.
_LOGIT_SCALE = math.log(1 / 0.07)
_ALIGN = 64


@dataclass(frozen=True)
class DINOTxtSize:
    """An architecture.

    Attributes:
        backbone: name of a DINOv2 with registers or of a DINOv3, or timm's arguments of one; with
            ``rope_type`` or ``num_reg_tokens`` they are DINOv3's.
        head_blocks: behind it.
        text_width: of the text tower.
        text_layers: its blocks.
        text_heads: of each.
        context_length: tokens of a sentence.
        vocabulary: tokens that it knows.
    """

    backbone: str | Mapping[str, Any] = 'dinov2_vitl14_reg'
    head_blocks: int = 2
    text_width: int = 1280
    text_layers: int = 24
    text_heads: int = 20
    context_length: int = 77
    vocabulary: int = 49408

    @property
    def is_dinov3(self) -> bool:
        """Whether the backbone is a DINOv3."""
        if isinstance(self.backbone, str):
            return self.backbone.startswith('dinov3')
        return any(name in self.backbone for name in ('rope_type', 'num_reg_tokens'))


PUBLISHED: dict[str, DINOTxtSize] = {
    _V2: DINOTxtSize(),
    _V3: DINOTxtSize('dinov3_vitl16'),
}
# Published names of one file, in our model; those of version 2's two files are put before.
_NAMES = (
    ('visual_model.head.blocks.{}.mlp.w1.*', 'visual.head.blocks.{}.mlp.fc1_g.*'),
    ('visual_model.head.blocks.{}.mlp.w2.*', 'visual.head.blocks.{}.mlp.fc1_x.*'),
    ('visual_model.head.blocks.{}.mlp.w3.*', 'visual.head.blocks.{}.mlp.fc2.*'),
    ('visual_model.head.ln_final.*', 'visual.head.norm.*'),
    ('visual_model.head.*', 'visual.head.*'),
    ('text_model.head.linear_projection.weight', 'text.text_projection'),
    ('text_model.backbone.blocks.{}.attention_norm.*', 'text.transformer.resblocks.{}.ln_1.*'),
    ('text_model.backbone.blocks.{}.ffn_norm.*', 'text.transformer.resblocks.{}.ln_2.*'),
    (
        'text_model.backbone.blocks.{}.attention.qkv.weight',
        'text.transformer.resblocks.{}.attn.in_proj_weight',
    ),
    (
        'text_model.backbone.blocks.{}.attention.proj.*',
        'text.transformer.resblocks.{}.attn.out_proj.*',
    ),
    (
        'text_model.backbone.blocks.{}.feed_forward.fc1.*',
        'text.transformer.resblocks.{}.mlp.c_fc.*',
    ),
    (
        'text_model.backbone.blocks.{}.feed_forward.fc2.*',
        'text.transformer.resblocks.{}.mlp.c_proj.*',
    ),
    ('text_model.backbone.*', 'text.*'),
)
_BACKBONE, _BLOCKS_OF_V2 = 'visual_model.backbone.', 'block_list.'
_TEXT, _IN_OURS = 'text_model.', 'visual.backbone.'


class DINOTxtHead(nn.Module):
    """Blocks and a norm behind a backbone's own norm; no positions enter.

    Args:
        width: of the tokens.
        heads: of each block.
        blocks: how many.
    """

    def __init__(self, width: int, heads: int, blocks: int) -> None:
        super().__init__()
        hidden = int(4 * width * 2 / 3)
        hidden += -hidden % _ALIGN
        settings: dict[str, Any] = {
            # timm rounds down what is a whole number here.
            'mlp_ratio': (hidden + 0.5) / width,
            'init_values': 1e-5,
            'norm_layer': partial(nn.LayerNorm, eps=1e-5),
            'mlp_layer': SwiGLU,
            'act_layer': nn.SiLU,
        }
        self.blocks = nn.ModuleList(Block(width, heads, **settings) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)


class DINOTxtVision(nn.Module):
    """A DINO with dino.txt's head.

    Args:
        backbone: with its own last norm.
        head: behind it.
        reading: ``'head'`` or ``'backbone'``, whose patches are asked.
    """

    def __init__(
        self, backbone: VisionTransformer | Eva, head: DINOTxtHead, reading: Reading
    ) -> None:
        super().__init__()
        self.backbone, self.head, self.reading = backbone, head, reading

    def open_tower(self) -> TimmTower:
        """See :func:`~ovseg.encoders.towers.open_tower`."""
        if self.reading == 'backbone':
            return TimmTower(self.backbone)
        return _DINOTxtTower(self.backbone, self.head)


class _DINOTxtTower(TimmTower):
    """The blocks of a backbone and of the head, as those of one tower."""

    def __init__(self, backbone: VisionTransformer | Eva, head: DINOTxtHead) -> None:
        super().__init__(backbone)
        first, *others = head.blocks
        self._blocks = [*super().blocks, BlockBehindNorm(backbone.norm, first), *others]
        self._last_norm = head.norm

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        return self._blocks

    def norm(self, tokens: Tensor) -> Tensor:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        return self._last_norm(tokens.to(self._last_norm.weight.dtype))

    def project(self, normed: Tensor) -> Tensor:
        """See :class:`~ovseg.encoders.towers.Tower`; the head's space is the patches' own."""
        return normed

    def pool(self, tokens: Tensor) -> Tensor:
        """The half of the global embedding that is in the patches' space: their mean."""
        return self.pool_both(tokens)[:, self.embed_dim :]

    def pool_both(self, tokens: Tensor) -> Tensor:
        """The global embedding (B, 2 D): class token, and mean of the patches."""
        normed = self.norm(tokens)
        return torch.cat([normed[:, 0], normed[:, self.prefix :].mean(1)], dim=1)


class DINOTxtModel(nn.Module):
    """Both towers. A sentence has an embedding of 2 D values, the second half for patches.

    Args:
        size: of the towers.
        reading: see :func:`load_dinotxt`.
        towers: which of them it has.

    Attributes:
        embed_dim: D.
    """

    def __init__(self, size: DINOTxtSize, reading: Reading, towers: Towers = 'both') -> None:
        super().__init__()
        # Even where it gives no more than the width: the backbone may be a name.
        if towers == 'text':
            with torch.device('meta'):
                vit = _build_backbone(size)
        else:
            vit = _build_backbone(size)
            head = DINOTxtHead(vit.embed_dim, size_of_heads(vit), size.head_blocks)
            self.visual = DINOTxtVision(vit, head, reading)
        self.embed_dim = vit.embed_dim
        if towers != 'vision':
            self.text = TextTransformer(
                size.context_length,
                size.vocabulary,
                size.text_width,
                size.text_heads,
                size.text_layers,
                output_dim=2 * vit.embed_dim,
            )
        self.logit_scale = nn.Parameter(torch.tensor(_LOGIT_SCALE))

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """The half for patches (P, D) of the embeddings of tokens (P, L) int64."""
        rows = self.text(tokens).chunk(2, dim=-1)[1]
        return F.normalize(rows, dim=-1) if normalize else rows


@dataclass(frozen=True)
class DINOTxtFiles:
    """Published files, see :class:`~ovseg.encoders.two_towers.ModelOfFiles`.

    Attributes:
        name: see ``model`` of :func:`load_dinotxt`, ``'custom'`` for sizes of one's own.
        size: of the towers.
        reading: see :func:`load_dinotxt`.
        path: of the file with the vision head.
        backbone: see :func:`load_dinotxt`.
        text: of the file with the text tower; None where it is in the other, or to be fetched.
    """

    name: str
    size: DINOTxtSize
    reading: Reading
    path: str
    backbone: str | Path | None
    text: str | None

    def build(self, towers: Towers) -> nn.Module:
        """See :class:`~ovseg.encoders.two_towers.ModelOfFiles`."""
        both = DINOTxtModel(self.size, self.reading, towers)
        state = read_state_dict(self.path, lambda name: may_be_of(towers, name))
        of_backbone = {
            key.removeprefix(_BACKBONE): state.pop(key)
            for key in list(state)
            if key.startswith(_BACKBONE)
        }
        own = from_published(state)
        parts: dict[str, Tensor] = {}
        if towers != 'text':
            _load_backbone(both, self.size, of_backbone, self.backbone, self.path)
            parts = {k: v for k, v in both.state_dict().items() if k.startswith(_IN_OURS)}
        if towers != 'vision' and not any(key.startswith('text.') for key in own):
            words = read_state_dict(_find_text(self.name, self.text))
            own |= from_published({f'{_TEXT}{key}': value for key, value in words.items()})
        own.setdefault('logit_scale', both.logit_scale.detach())
        own = {key: value for key, value in own.items() if is_of(towers, key)}
        load_strictly(both, {**parts, **own}, self.path)
        return both


def may_be_of(towers: Towers, name: str) -> bool:
    """Whether a tensor of a published file may belong to wanted towers.

    Args:
        towers: that are wanted.
        name: in the file.
    """
    if towers == 'both' or name == 'logit_scale':
        return True
    return name.startswith(_TEXT) == (towers == 'text')


def _build_backbone(size: DINOTxtSize) -> VisionTransformer | Eva:
    build = dinov3.build_dinov3 if size.is_dinov3 else dinov2.build_dinov2
    return build(size.backbone)


@MODELS.register_module('DINOTxt')
def load_dinotxt(
    model: str | Mapping[str, Any] = _V2,
    pretrained: str | Path | None = None,
    backbone: str | Path | None = None,
    text: str | Path | None = None,
    reading: Reading = 'head',
    text_cache: TextCache = None,
) -> LoadedCLIP:
    """Returns a dino.txt with its weights.

    Args:
        model: a name of torch.hub's, or the fields of :class:`DINOTxtSize` as a dict.
        pretrained: the published file with the vision head: of version 3 with the text tower in it,
            of version 2 (``*_vision_head.pth``) without. None fetches it, which version 3's licence
            does not allow; or ``'random'`` for all parts.
        backbone: weights of the backbone, see :func:`~ovseg.encoders.dinov2.load_dinov2` and
            :func:`~ovseg.encoders.dinov3.load_dinov3`; not asked for where `pretrained` has them.
        text: version 2's ``*_text_encoder.pth``; None fetches it where it is needed.
        reading: ``'head'`` asks the patches that training aligned with words; ``'backbone'`` those
            of the backbone, as DINOv3's released notebook of segmentation does, which takes the
            last of three outputs.
        text_cache: see :func:`~ovseg.encoders.load_clip`.

    Raises:
        UserError: unknown name or reading, weights that do not fit, or no network for the download.
        FileNotFoundError: there is no such file.

    Source: dino.txt (arXiv 2412.16334).
    """
    if reading not in get_args(Reading):
        raise UserError(
            f'clip.reading must be one of {", ".join(get_args(Reading))}, got {reading!r}'
        )
    name = model if isinstance(model, str) else 'custom'
    size = _size_of(model)
    weights = 'random'
    both: nn.Module
    if pretrained == 'random':
        both = DINOTxtModel(size, reading)
    else:
        path = wherever(_find(name, pretrained))
        weights = Path(path).name
        words = None
        if text is not None or (pretrained is None and name == _V2):
            words = wherever(_find_text(name, text))
        # A file that somebody gives as version 2's head may have the text tower in it, or not.
        is_known = words is not None or name != _V2
        both = build_towers(
            DINOTxtFiles(name, size, reading, path, backbone, words),
            [path] if words is None else [path, words],
            text_cache if is_known else None,
        )
    both.eval().requires_grad_(False)
    tokenizer = open_clip.SimpleTokenizer(context_length=size.context_length)
    return LoadedCLIP(both, tokenizer, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, name, weights)


def size_of_heads(vit: VisionTransformer | Eva) -> int:
    """Heads of a vision transformer's attentions."""
    attention: Any = vit.blocks[0].attn
    return attention.num_heads


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the names of :class:`DINOTxtModel` for the tensors of a published file.

    Args:
        state: tensors of the head and the text tower by their published names. A name that is in no
            table stays as it is, and is refused as unexpected where the tensors are loaded.
    """
    if any(name.startswith(_BLOCKS_OF_V2) for name in state):
        state = {
            f'visual_model.head.{name.replace(_BLOCKS_OF_V2, "blocks.")}': value
            for name, value in state.items()
        }
    found = {rename(name, _NAMES) or name: value for name, value in state.items()}
    if 'logit_scale' in found:
        found['logit_scale'] = found['logit_scale'].reshape(())
    if 'text.text_projection' in found:
        found['text.text_projection'] = found['text.text_projection'].T.contiguous()
    for name in [name for name in found if name.endswith('attn.in_proj_weight')]:
        # The published attention has no bias here, open_clip's has one.
        found[name.replace('weight', 'bias')] = found[name].new_zeros(len(found[name]))
    return found


def _load_backbone(
    both: nn.Module,
    size: DINOTxtSize,
    state: dict[str, Tensor],
    backbone: str | Path | None,
    origin: object,
) -> None:
    """The backbone's weights: of the same file, or of one of their own."""
    vit: Any = both.get_submodule('visual.backbone')
    if not state:
        load = dinov3.load_dinov3 if size.is_dinov3 else dinov2.load_dinov2
        if backbone is None and not isinstance(size.backbone, str):
            raise UserError(
                f'{origin} has no backbone; name a file with one as clip.backbone for a '
                'clip.model of yours'
            )
        vit.load_state_dict(load(size.backbone, backbone).model.state_dict())
    elif isinstance(vit, Eva):
        dinov3.fill_dinov3(vit, state, origin)
    else:
        load_strictly(vit, dinov2.from_published(state), origin)


def _find(name: str, pretrained: str | Path | None) -> str | Path:
    if pretrained is not None:
        return pretrained
    if name == _V2:
        return fetch_url(f'{_HOST}/{_V2}_vision_head.pth', 'clip.pretrained')
    if name == _V3:
        raise UserError(
            "DINOv3's dino.txt is given to those alone who accepted its licence: ask for it on the "
            'page of facebookresearch/dinov3 and give the file as clip.pretrained; or choose '
            f'{_V2}, which is open'
        )
    raise UserError("clip.pretrained must name a file, or 'random', for a clip.model of yours")


def _find_text(name: str, text: str | Path | None) -> str | Path:
    if text is not None:
        return text
    if name != _V2:
        raise UserError(
            'the file of clip.pretrained has no text tower; name one that has as clip.text'
        )
    return fetch_url(f'{_HOST}/{_V2}_text_encoder.pth', 'clip.text')


def _size_of(model: str | Mapping[str, Any]) -> DINOTxtSize:
    if not isinstance(model, str):
        return read_settings(DINOTxtSize, model, 'clip.model')
    check_published(model, PUBLISHED, 'clip.model')
    return PUBLISHED[model]
