"""CLIP and SigLIP as transformers keeps them: a folder or a repository of the hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.encoders.clip import LoadedCLIP
from ovseg.encoders.hub_weights import file_of_model
from ovseg.encoders.transformers_tower import HubVision
from ovseg.encoders.two_towers import TextCache, Towers, build_towers, is_of, wherever
from ovseg.errors import UserError
from ovseg.extras import of_extra
from ovseg.input_files import read_json
from ovseg.registry import MODELS
from ovseg.text.sentence_pieces import Bytes
from ovseg.text.tokenizer import build_tokenizer
from ovseg.weight_files import load_strictly, read_state_dict

if TYPE_CHECKING:
    from transformers import CLIPModel, SiglipModel

_CONFIG, _WEIGHTS, _PIXELS = 'config.json', 'model.safetensors', 'preprocessor_config.json'
_KEY = 'clip.model'
_VISION = ('vision_model.', 'visual_projection.')
# What a config calls its model -> transformers' classes of config and model.
_KINDS = {
    'clip': ('CLIPConfig', 'CLIPModel'),
    'siglip': ('SiglipConfig', 'SiglipModel'),
}
# Filling in which SigLIP never is, for random weights.
_HALF = (0.5, 0.5, 0.5)


class HubCLIP(nn.Module):
    """Both towers of transformers' ``CLIPModel`` or ``SiglipModel``, in one space.

    Args:
        model: whose parts are taken over; a tower may be None.
    """

    def __init__(self, model: CLIPModel | SiglipModel) -> None:
        super().__init__()
        if model.vision_model is not None:
            self.visual = HubVision(model.vision_model, getattr(model, 'visual_projection', None))
        self.text = model.text_model
        self.text_projection = getattr(model, 'text_projection', None)
        self.logit_scale = model.logit_scale

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """Embeddings (B, D) of images (B, 3, H, W), normalised."""
        pooled = self.visual(image)
        return F.normalize(pooled, dim=-1) if normalize else pooled

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """Embeddings (P, D) of tokens (P, L) int64."""
        # Without a mask: SigLIP reads its last place, filled up or not, and CLIP looks back only.
        rows = self.text(input_ids=tokens).pooler_output
        rows = rows if self.text_projection is None else self.text_projection(rows)
        return F.normalize(rows, dim=-1) if normalize else rows


@dataclass(frozen=True)
class HubFile:
    """Weights as transformers saves them, see :class:`~ovseg.encoders.two_towers.ModelOfFiles`.

    Attributes:
        fields: content of a ``config.json``.
        path: of the weights.
    """

    fields: Mapping[str, Any]
    path: str

    def build(self, towers: Towers) -> nn.Module:
        """See :class:`~ovseg.encoders.two_towers.ModelOfFiles`."""
        # Older files hold the numbers of the places, which are 0, 1, 2...
        state = read_state_dict(
            self.path,
            lambda name: is_of(towers, name, _VISION) and not name.endswith('.position_ids'),
        )
        built = _of_transformers(self.fields, towers)
        load_strictly(built, state, self.path)
        return HubCLIP(built)


def _of_transformers(fields: Mapping[str, Any], towers: Towers = 'both') -> Any:
    """A model of transformers' with random weights; a tower that is not wanted is None."""
    import transformers

    config_class, model_class = (
        getattr(transformers, name) for name in _KINDS[fields['model_type']]
    )
    config = config_class.from_dict(dict(fields))
    # transformers builds both towers or none; the one that is not wanted gets no layers.
    if towers == 'vision':
        config.text_config.num_hidden_layers, config.text_config.vocab_size = 0, 1
    elif towers == 'text':
        config.vision_config.num_hidden_layers = 0
    with torch.device('cpu'):
        built = model_class(config)
    if towers != 'both':
        other = 'text' if towers == 'vision' else 'vision'
        setattr(built, f'{other}_model', None)
        projection = 'text_projection' if towers == 'vision' else 'visual_projection'
        if hasattr(built, projection):
            setattr(built, projection, None)
    return built


@MODELS.register_module('TransformersCLIP')
def load_transformers_clip(
    model: str | Path | Mapping[str, Any],
    pretrained: str | Path | None = None,
    tokenizer: str | Path | None = None,
    text_cache: TextCache = None,
) -> LoadedCLIP:
    """Returns a CLIP or SigLIP of transformers with its weights and tokenizer.

    Args:
        model: a folder as ``save_pretrained`` writes it, a repository of the hub
            (``'google/siglip2-base-patch16-512'``), or the content of a ``config.json``.
        pretrained: None for the weights of the folder or repository; a file with the tensors; or
            ``'random'``.
        tokenizer: folder or repository of another tokenizer.
        text_cache: see :func:`~ovseg.encoders.load_clip`.

    Raises:
        UserError: transformers is missing, a model of another type, weights that do not fit, a
            tokenizer that cannot be read, or no network for the download.
        FileNotFoundError: there is no such file or repository.
    """
    with of_extra('transformers', 'CLIP and SigLIP of the hub are built by transformers'):
        import transformers
    fields = (
        dict(model)
        if isinstance(model, Mapping)
        else read_json(file_of_model(model, _CONFIG, _KEY))
    )
    kind = fields.get('model_type') if isinstance(fields, Mapping) else None
    if kind not in _KINDS:
        raise UserError(
            f'clip.model={_named(model)} says model_type {kind!r}; TransformersCLIP reads '
            f'{" and ".join(map(repr, _KINDS))}'
        )
    config = getattr(transformers, _KINDS[kind][0]).from_dict(dict(fields))
    both: nn.Module
    weights = 'random'
    if pretrained == 'random':
        both = HubCLIP(_of_transformers(fields))
    else:
        if pretrained is None:
            if isinstance(model, Mapping):
                raise UserError(
                    "clip.pretrained must name a file, or 'random', for a clip.model of yours"
                )
            pretrained = file_of_model(model, _WEIGHTS, _KEY)
        path = wherever(pretrained)
        both = build_towers(HubFile(fields, path), [path], text_cache)
        weights = Path(pretrained).name if isinstance(model, Mapping) else str(model)
    words = _tokenizer_of(model, tokenizer, config, kind, weights)
    both.eval().requires_grad_(False)
    mean, std = _statistics_of(model)
    return LoadedCLIP(both, words, mean, std, _named(model), weights)


def _tokenizer_of(
    model: str | Path | Mapping[str, Any],
    tokenizer: str | Path | None,
    config: Any,
    kind: str,
    weights: str,
) -> Any:
    text = config.text_config
    length = text.max_position_embeddings
    source = tokenizer if tokenizer is not None or isinstance(model, Mapping) else model
    if source is None:
        if weights != 'random':
            raise UserError('clip.tokenizer must name a tokenizer for a clip.model of yours')
        return Bytes(text.vocab_size, length)
    settings = {'context_length': length, 'vocab_size': text.vocab_size}
    return build_tokenizer(settings, source, canonical=kind == 'siglip')


def _statistics_of(
    model: str | Path | Mapping[str, Any],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation that a model's own page states."""
    if isinstance(model, Mapping):
        return _HALF, _HALF
    path = file_of_model(model, _PIXELS, _KEY)
    stated = read_json(path)
    try:
        mean, std = (tuple(map(float, stated[name])) for name in ('image_mean', 'image_std'))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f'{path} states no image_mean and image_std, so pixels cannot be normalised; get it '
            'again'
        ) from error
    return mean, std


def _named(model: str | Path | Mapping[str, Any]) -> str:
    return 'custom' if isinstance(model, Mapping) else str(model)
