"""SAM 3 from a name, a folder or a file: transformers' own, unmodified ``Sam3Model``."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import open_clip
import torch
from torch import Tensor

from ovseg.encoders.hub_weights import file_of_model
from ovseg.encoders.sam3_format import detector_state
from ovseg.errors import UserError, nearest, notify
from ovseg.extras import of_extra
from ovseg.input_files import cause_of, read_json
from ovseg.text.sentence_pieces import filled_up
from ovseg.weight_files import load_strictly, read_state_dict

if TYPE_CHECKING:
    from transformers import Sam3Config, Sam3Model

Tokenizer = Callable[..., Tensor]

PUBLISHED = ('facebook/sam3',)
EMBEDDED = ('tiny_sam3_scenes',)
CONFIG, WEIGHTS = 'config.json', 'model.safetensors'
_KEY = 'sam3.model'
LICENCE = (
    'SAM 3 comes under the SAM License of Meta, which is no open-source licence: weights may be '
    'passed on under the same terms only, military and nuclear uses are excluded, and access to '
    'facebook/sam3 is granted by request'
)
# What files of the hub call SAM 3, with and without the tracker.
_TYPES = ('sam3', 'sam3_video')
_PARTS = (
    *('vision_config', 'text_config', 'geometry_encoder_config', 'detr_encoder_config'),
    *('detr_decoder_config', 'mask_decoder_config'),
)
# The epsilon of the authors' ViT; transformers' default is another one.
_EPSILON = 1e-5
_CLIP_WORDS = 49408


@dataclass(frozen=True)
class LoadedSAM3:
    """A frozen SAM 3 with what belongs to its weights.

    Attributes:
        model: transformers' ``Sam3Model``, in eval mode, without gradients.
        tokenizer: maps phrases to tokens (P, L) int64, each with a start and an end.
        name: of the architecture.
        weights: name of the repository, folder or file, or ``'random'``.
    """

    model: Sam3Model
    tokenizer: Tokenizer
    name: str
    weights: str


class WordTable:
    """Tokens of phrases by a table of words, for weights that know no others.

    Args:
        words: id of each word.
        start: id that phrases begin with.
        end: id that they end with, and keep if they are cut.
        context_length: L.
    """

    def __init__(self, words: Mapping[str, int], start: int, end: int, context_length: int) -> None:
        self._words, self._start, self._end = dict(words), start, end
        self.context_length = context_length

    def __call__(self, phrases: list[str], context_length: int | None = None) -> Tensor:
        """Ids (P, L) int64, filled up with 0.

        Raises:
            UserError: a word that is not in the table.
        """
        length = context_length or self.context_length
        rows = []
        for phrase in phrases:
            words = phrase.lower().replace('-', ' - ').split()
            for word in words:
                if word not in self._words:
                    raise UserError(
                        f'the table of words of this SAM 3 does not know {word!r}.'
                        f'{nearest(word, self._words)}'
                    )
            ids = [self._words[word] for word in words]
            rows.append([self._start, *ids[: length - 2], self._end])
        return filled_up(rows, length)


class PhraseBytes:
    """The bytes of phrases as tokens, for weights that were never trained on any words.

    Args:
        vocabulary: how many ids the tower knows; the last two are start and end.
        context_length: L.
    """

    def __init__(self, vocabulary: int, context_length: int) -> None:
        self._vocabulary, self.context_length = vocabulary, context_length

    def __call__(self, phrases: list[str], context_length: int | None = None) -> Tensor:
        """Ids (P, L) int64, filled up with 0."""
        length, start = context_length or self.context_length, self._vocabulary - 2
        rows = [
            [start, *(1 + byte % (start - 1) for byte in phrase.lower().encode()[: length - 2])]
            for phrase in phrases
        ]
        return filled_up([[*row, start + 1] for row in rows], length)


def load_sam3(
    model: str | Path | Mapping[str, Any] = PUBLISHED[0],
    pretrained: str | Path | None = None,
    words: Mapping[str, int] | None = None,
    layer_norm_eps: float | None = None,
) -> LoadedSAM3:
    """Returns a SAM 3 with its weights; the licence of published ones is told.

    Args:
        model: a repository of the hub (``'facebook/sam3'``, gated); a folder with ``config.json``
            and ``model.safetensors`` as it has them, of ``Sam3Model`` or of the video model; a file
            of weights of the published size (the authors' ``sam3.pt``); the embedded model
            ``'tiny_sam3_scenes'``; or the fields of ``Sam3Config``.
        pretrained: None for the weights of the name, folder or file; a file in any of these
            formats, a folder as above, or ``'random'``, which must be asked for by that name; of
            an embedded model one that ``tools/export.py tiny-sam3`` wrote.
        words: a table of words instead of CLIP's byte pairs, for weights that know no others.
        layer_norm_eps: of the ViT. None: as the config says, and 1e-5, the authors', where it says
            nothing.

    Raises:
        UserError: transformers or torchvision is missing or too old; another model; weights that do
            not fit; a gated repository, or no network.
        FileNotFoundError: there is no such file.
    """
    name = 'custom' if isinstance(model, Mapping) else str(model)
    if name in EMBEDDED:
        return _embedded(name, pretrained, words, layer_norm_eps)
    file = pretrained if pretrained is not None or isinstance(model, Mapping) else model
    if file is None:
        raise UserError(
            "sam3.pretrained must name a file or a folder, or 'random', for a sam3.model of yours"
        )
    fields = model if isinstance(model, Mapping) else _fields_of(model, pretrained)
    config = sam3_config(fields, layer_norm_eps)
    if file == 'random':
        built, weights = _built(config), 'random'
    else:
        path = Path(os.path.expanduser(file))
        path = path if os.path.isfile(path) else file_of_model(file, WEIGHTS, _KEY)
        built = _loaded(config, path)
        weights = name if pretrained is None else Path(file).name
        if not isinstance(model, Mapping):
            notify(LICENCE)
    return LoadedSAM3(built.eval().requires_grad_(False), _tokenizer(config, words), name, weights)


def _embedded(name: str, pretrained: str | Path | None, *others: object) -> LoadedSAM3:
    if any(other is not None for other in others):
        raise UserError(
            f"sam3.words and sam3.layer_norm_eps of the embedded model '{name}' must be left out"
        )
    from ovseg.encoders.tiny_sam3 import build_tiny_sam3  # which needs this file

    if pretrained is None:
        return build_tiny_sam3(name)
    path = Path(os.path.expanduser(pretrained)).with_suffix('')
    return build_tiny_sam3(path.name, path.parent)


def _fields_of(model: str | Path, pretrained: str | Path | None) -> Mapping[str, Any]:
    """The config beside the weights; none for a file alone, which is of the published size."""
    for place in (pretrained, model):
        if place is not None and os.path.isdir(os.path.expanduser(place)):
            return _read_config(file_of_model(place, CONFIG, _KEY))
    if pretrained is not None or os.path.isfile(os.path.expanduser(model)):
        return {}
    return _read_config(file_of_model(model, CONFIG, _KEY))


def sam3_config(fields: Mapping[str, Any], layer_norm_eps: float | None = None) -> Sam3Config:
    """The config of a SAM 3 for images.

    Args:
        fields: of ``Sam3Config``, or of the video model's, whose detector is meant; what is left
            out is as in the published one.
        layer_norm_eps: see :func:`load_sam3`.

    Raises:
        UserError: transformers is missing or too old, or the fields make no SAM 3.
    """
    transformers = _transformers()
    plain: dict[str, Any] = copy.deepcopy(_plain(fields.get('detector_config') or fields))
    for part in plain:
        if part.endswith('_config') and part not in _PARTS:
            raise UserError(f"sam3.model has no part '{part}'.{nearest(part, _PARTS)}")
    vision = plain.setdefault('vision_config', {}) or {}
    backbone = vision.setdefault('backbone_config', {}) or {}
    plain['vision_config'], vision['backbone_config'] = vision, backbone
    backbone['model_type'], vision['model_type'] = 'sam3_vit_model', 'sam3_vision_model'
    backbone.setdefault('layer_norm_eps', _EPSILON)
    if layer_norm_eps is not None:
        backbone['layer_norm_eps'] = layer_norm_eps
    text = {'model_type': 'clip_text_model', **(plain.pop('text_config', None) or {})}
    if len(text) > 1:
        plain['text_config'] = text
    try:
        return transformers.Sam3Config(
            **{name: value for name, value in plain.items() if name in _PARTS}
        )
    except Exception as error:  # transformers has errors of its own for a wrong value
        raise UserError(f'sam3.model fits no SAM 3: {cause_of(error)}') from error


def _transformers() -> Any:
    with of_extra('transformers', 'SAM 3 is run by transformers'):
        import transformers
    if not hasattr(transformers, 'Sam3Model'):
        python = '.'.join(map(str, sys.version_info[:2]))
        raise UserError(
            f'SAM 3 needs transformers 5.12 or newer, and {transformers.__version__} is installed: '
            f'pip install "transformers>=5.12" (5.24 needs Python 3.11; this is {python})'
        )
    with of_extra('transformers', 'SAM 3 pools boxes by torchvision'):
        import torchvision  # noqa: F401
    return transformers


def _plain(part: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _plain(value) if isinstance(value, Mapping) else value for name, value in part.items()
    }


def _read_config(path: Path) -> Mapping[str, Any]:
    fields = read_json(path)
    kind = fields.get('model_type') if isinstance(fields, Mapping) else None
    if kind not in _TYPES:
        raise UserError(
            f'{path} says model_type {kind!r}, a SAM 3 says {" or ".join(map(repr, _TYPES))}; give '
            'the folder of a SAM 3'
        )
    return fields


def _built(config: Sam3Config) -> Sam3Model:
    from transformers import Sam3Model

    with torch.device('cpu'):
        return Sam3Model(config)


def _loaded(config: Sam3Config, path: Path) -> Sam3Model:
    state = {name: value.float() for name, value in detector_state(read_state_dict(path)).items()}
    model = _built(config)
    load_strictly(model, state, path)
    return model


def _tokenizer(config: Sam3Config, words: Mapping[str, int] | None) -> Tokenizer:
    text: Any = config.text_config
    length = text.max_position_embeddings
    if words is not None:
        return WordTable(words, text.bos_token_id, text.eos_token_id, length)
    if text.vocab_size == _CLIP_WORDS:
        # Byte pairs as the model was trained with; it cuts and keeps the end.
        return open_clip.SimpleTokenizer(context_length=length)
    return PhraseBytes(text.vocab_size, length)
