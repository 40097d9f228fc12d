"""C-RADIO in the space of a text tower: its adaptor heads, and SigLIP 2's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.downloads import fetch_from_hub
from ovseg.encoders.clip import LoadedCLIP
from ovseg.encoders.position import ResizeRule
from ovseg.encoders.radio import PUBLISHED, load_radio
from ovseg.encoders.siglip_text import SigLIPText, find_siglip_text
from ovseg.encoders.timm_tower import TimmTower
from ovseg.encoders.two_towers import TextCache, Towers, build_towers
from ovseg.errors import UserError, nearest
from ovseg.registry import MODELS
from ovseg.weight_files import load_strictly, read_checkpoint, state_of

_KEY = 'clip.adaptors'
# By the start of a model's name: its SigLIP 2 adaptor, and the text tower of that teacher in
# open_clip's architectures. NaFlex has the architecture of the fixed sizes and weights of its own.
_TEACHERS = {
    'c-radio_v3': (
        'siglip2',
        {
            'model': 'ViT-SO400M-16-SigLIP2-512',
            'pretrained': 'hf-hub:google/siglip2-so400m-patch16-naflex',
        },
    ),
    'c-radio_v4': (
        'siglip2-g',
        {'model': 'ViT-gopt-16-SigLIP2-384', 'pretrained': 'webli'},
    ),
}
# Where a file's name does not follow from the model's.
_FILES = {'c-radio_v3-l': 'c-radio-v3_l_half.pth.tar'}
_SUMMARY = '_heads.'


class AdaptorHead(nn.Module):
    """An adaptor of C-RADIO: from its tokens into a teacher's space, each token by itself.

    Args:
        width: of the tokens.
        hidden: between the layers.
        embed_dim: D of the teacher's space.
        inner: residual layers.

    Source: RADIOv2.5 (arXiv 2412.07679), the MLP of version 2.
    """

    def __init__(self, width: int, hidden: int, embed_dim: int, inner: int = 1) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.blocks = nn.ModuleList(_normed_layer(hidden, hidden) for _ in range(inner))
        self.final = _normed_layer(hidden, embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (..., C) in the teacher's space, (..., D)."""
        tokens = self.fc1(tokens)
        for block in self.blocks:
            tokens = tokens + block(tokens)
        return self.final(tokens)


def _normed_layer(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.GELU(), nn.Linear(width, out))


class RADIOVision(nn.Module):
    """C-RADIO with one adaptor behind it.

    Args:
        trunk: from :func:`~ovseg.encoders.radio.build_radio`.
        head: the adaptor.
        position_rule: ``'radio'`` or ``'radio_corners'``.
        class_token: which of the prefix tokens is the teacher's.
    """

    def __init__(
        self,
        trunk: VisionTransformer,
        head: AdaptorHead,
        position_rule: ResizeRule = 'radio',
        class_token: int = 0,
    ) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head
        self.position_rule, self.class_token = position_rule, class_token

    def open_tower(self) -> TimmTower:
        """See :func:`~ovseg.encoders.towers.open_tower`."""
        return _RADIOTower(self.trunk, self.head, self.position_rule, self.class_token)


class _RADIOTower(TimmTower):
    """C-RADIO taken apart; its teachers have a class token each."""

    def __init__(
        self,
        trunk: VisionTransformer,
        head: AdaptorHead,
        position_rule: ResizeRule,
        class_token: int,
    ) -> None:
        super().__init__(trunk, head)
        self.position_rule = position_rule
        self._adaptor, self._class_token = head, class_token

    def pool(self, tokens: Tensor) -> Tensor:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        return self._adaptor(self.norm(tokens)[:, self._class_token])


class TextAlignedRADIO(nn.Module):
    """C-RADIO and a text tower, in one space of D dimensions.

    Args:
        visual: with its adaptor.
        text: tokens to embeddings; None where it waits in its file.
        logit_scale: logarithm of the factor that the text tower was trained to, a scalar.
    """

    def __init__(self, visual: nn.Module, text: nn.Module | None, logit_scale: Tensor) -> None:
        super().__init__()
        self.visual, self.text = visual, text
        self.logit_scale = nn.Parameter(logit_scale.detach().float().reshape(()))

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """Embeddings (P, D) of tokens (P, L) int64."""
        assert self.text is not None  # else nobody asks for embeddings
        rows = self.text(tokens)
        return F.normalize(rows, dim=-1) if normalize else rows


@dataclass(frozen=True)
class _BesideVision:
    """A text tower for a vision tower of other files, which is put beside it later.

    See :class:`~ovseg.encoders.two_towers.ModelOfFiles`.
    """

    text: SigLIPText

    def build(self, towers: Towers) -> nn.Module:
        scale = self.text.logit_scale()
        # SigLIP's own beginning, where no file says what it became.
        scale = torch.tensor(10.0).log() if scale is None else scale
        text = None if towers == 'vision' else self.text.build()
        return TextAlignedRADIO(nn.Identity(), text, scale)


@dataclass(frozen=True)
class Adaptor:
    """A summary head as a file has it.

    Attributes:
        state: tensors by the names of :class:`AdaptorHead`.
        number: of its teacher, and so of its class token.
    """

    state: dict[str, Tensor]
    number: int

    def build(self, origin: object) -> AdaptorHead:
        """Returns the head, whose sizes are those of the tensors.

        Args:
            origin: where they come from, for messages.

        Raises:
            UserError: it is another kind of head.
        """
        first, last = (self.state.get(f'{name}.weight') for name in ('fc1', 'final.2'))
        if first is None or last is None or first.ndim != 2 or last.ndim != 2:
            raise UserError(
                f'the adaptor of {origin} is no MLP of version 2 (fc1, blocks, final), which those '
                'of C-RADIO v3 and v4 are; give their *_half.pth.tar'
            )
        inner = {name.split('.')[1] for name in self.state if name.startswith('blocks.')}
        head = AdaptorHead(first.shape[1], first.shape[0], last.shape[0], len(inner))
        load_strictly(head, self.state, origin)
        return head


def read_adaptor(path: str | Path, name: str) -> Adaptor:
    """Reads the summary head of a teacher.

    Args:
        path: a ``*_half.pth.tar`` of C-RADIO. It is a pickle with the arguments of its training, of
            which the list of teachers is read; nothing in it is run.
        name: of the teacher, such as ``'siglip2'``.

    Raises:
        UserError: no such file of C-RADIO, or it has no such teacher.
        FileNotFoundError: there is no such file.
    """
    content = read_checkpoint(path)
    teachers = getattr(content.get('args'), 'teachers', None)
    if not isinstance(teachers, (list, tuple)):
        raise UserError(
            f'{path} does not say which teachers it has (args.teachers); give the *_half.pth.tar '
            f'of a C-RADIO as {_KEY}, whose model.safetensors has no adaptors'
        )
    names = [str(teacher['name']) for teacher in teachers]
    if name not in names:
        raise UserError(
            f"{path} has no adaptor '{name}' (it has {', '.join(names)}).{nearest(name, names)}"
        )
    number = names.index(name)
    state = state_of(content.get('state_dict_ema', content.get('state_dict')), path)
    for key in (name, str(number)):
        prefix = f'{_SUMMARY}{key}.'
        found = {
            key.removeprefix(prefix): value.float()
            for key, value in state.items()
            if key.startswith(prefix)
        }
        if found:
            return Adaptor(found, number)
    raise UserError(f"{path} names an adaptor '{name}' and has no weights of it; get it again")


@MODELS.register_module('RADIO')
def load_text_aligned_radio(
    model: str | Mapping[str, Any],
    pretrained: str | Path | None = None,
    adaptors: str | Path | None = None,
    adaptor: str | None = None,
    text: Mapping[str, Any] | None = None,
    align_corners: bool = False,
    text_cache: TextCache = None,
) -> LoadedCLIP:
    """Returns a C-RADIO in the text space of one of its teachers.

    Args:
        model: see :func:`~ovseg.encoders.radio.load_radio`.
        pretrained: likewise.
        adaptors: the ``*_half.pth.tar`` that belongs to the model, the one file with its heads;
            None fetches it, or, with random weights, makes a random head.
        adaptor: the teacher whose space is wanted; None for the SigLIP 2 of the model's version.
        text: arguments of :func:`~ovseg.encoders.siglip_text.find_siglip_text`; what is missing is
            taken from the teacher of the model's version.
        align_corners: see :func:`~ovseg.encoders.radio.load_radio`.
        text_cache: see :func:`~ovseg.encoders.load_clip`.

    Raises:
        UserError: unknown name, weights that do not fit each other, or no network for the download.
        FileNotFoundError: there is no such file.

    Source: RADIOv2.5 (arXiv 2412.07679); the summary head on every patch is RADSeg's reading.
    """
    name = model if isinstance(model, str) else 'custom'
    taught, words = _teacher_of(name)
    radio = load_radio(model, pretrained, align_corners)
    assert isinstance(radio.model, VisionTransformer)  # of `load_radio`
    tower = find_siglip_text(**{**words, **(text or {})})
    number = 0
    if adaptors is None and pretrained == 'random':
        width = radio.model.embed_dim
        head = AdaptorHead(width, width, tower.embed_dim)
    else:
        path = _fetch_adaptors(name) if adaptors is None else adaptors
        found = read_adaptor(path, adaptor or taught)
        head, number = found.build(path), found.number
    _check_spaces(head, radio.model, tower.embed_dim)
    visual = RADIOVision(radio.model, head, radio.position_resize, number)
    words_of = _BesideVision(tower)
    if tower.path is None:
        both = words_of.build('both')
    else:
        both = build_towers(words_of, [tower.path], text_cache)
    both.visual = visual
    both.eval().requires_grad_(False)
    weights = f'{radio.weights}, words of {tower.weights}'
    return LoadedCLIP(both, tower.tokenizer, radio.mean, radio.std, name, weights)


def _teacher_of(name: str) -> tuple[str, dict[str, Any]]:
    for start, row in _TEACHERS.items():
        if name.startswith(start):
            return row
    return _TEACHERS['c-radio_v3']


def _fetch_adaptors(name: str) -> Path:
    if name not in PUBLISHED:
        raise UserError(f'{_KEY} must name a file for a clip.model of yours')
    file = _FILES.get(name, f'{name}_half.pth.tar')
    return fetch_from_hub(PUBLISHED[name].repository, file, _KEY)


def _check_spaces(head: AdaptorHead, trunk: VisionTransformer, embed_dim: int) -> None:
    if head.fc1.in_features != trunk.embed_dim:
        raise UserError(
            f'the adaptor reads tokens of {head.fc1.in_features} values and the model has '
            f'{trunk.embed_dim}; give the *_half.pth.tar of the same model as {_KEY}'
        )
    last = head.final[2]
    assert isinstance(last, nn.Linear)  # of `_normed_layer`
    if last.out_features != embed_dim:
        raise UserError(
            f'the adaptor gives {last.out_features} values and the text tower {embed_dim}: they '
            'are of different teachers; check clip.adaptor and clip.text'
        )
