"""CLIP models from open_clip, used as they are: by registry tag, by file, embedded, or random."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import open_clip
from open_clip import CLIP, CustomTextCLIP
from torch import Tensor, nn

import ovseg.encoders.scenes_convnext
import ovseg.encoders.scenes_tower  # noqa: F401  timm knows towers by their names once these ran
from ovseg.downloads import fetch_from_hub
from ovseg.encoders.build import build_dense_encoder
from ovseg.encoders.clip_files import (
    load_clip_weights,
    load_vision_weights,
    may_be_of,
    needs_both,
    plain_names,
    with_context_of,
)
from ovseg.encoders.clip_registry import architecture_config, locate_weights, trained_statistics
from ovseg.encoders.dense import DenseEncoder
from ovseg.encoders.embedded import is_exported
from ovseg.encoders.two_towers import TextCache, Towers, build_towers, wherever
from ovseg.errors import UserError
from ovseg.extras import of_extra
from ovseg.text.encoder import TextEncoder
from ovseg.text.tokenizer import build_tokenizer
from ovseg.weight_files import Unfilled, read_state_dict

Activation = Literal['gelu', 'quick_gelu']
ACTIVATIONS: dict[str, type[nn.Module]] = {
    'gelu': nn.GELU,
    'quick_gelu': open_clip.transformer.QuickGELU,
}
# open_clip builds both towers or none; the one that is not wanted is as small as it gets.
_LEAST_VISION = {'image_size': 8, 'patch_size': 8, 'width': 8, 'head_width': 8, 'layers': 1}
_LEAST_TEXT = {'context_length': 1, 'vocab_size': 1, 'width': 8, 'heads': 1, 'layers': 1}
EMBEDDED_MODELS = ('tiny_clip_scenes', 'tiny_siglip_scenes')


@dataclass(frozen=True)
class LoadedCLIP:
    """A frozen CLIP model with what belongs to its weights.

    Attributes:
        model: open_clip's ``CLIP`` or ``CustomTextCLIP``, in eval mode, without gradients; or a
            :class:`~ovseg.encoders.two_towers.VisionAlone`.
        tokenizer: the tokenizer of its text tower.
        mean: pixel mean that the weights were trained with, RGB, in units of [0, 1].
        std: pixel standard deviation, likewise.
        name: architecture name.
        weights: tag, file name, ``'embedded'`` or ``'random'``.
    """

    model: Any
    tokenizer: Callable[..., Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    name: str
    weights: str

    def dense_encoder(
        self, settings: Mapping[str, Any], mean: Sequence[float], std: Sequence[float]
    ) -> DenseEncoder:
        """See :class:`~ovseg.encoders.vision_language.VisionLanguageModel`."""
        return build_dense_encoder(self.model.visual, mean, std, **settings)

    def text_encoder(
        self, cache_dir: Path | str | Literal['default'] | None = 'default'
    ) -> TextEncoder:
        """See :class:`~ovseg.encoders.vision_language.VisionLanguageModel`."""
        return TextEncoder(self.model, self.tokenizer, cache_dir=cache_dir, name=self.name)


def load_clip(
    model: str | Mapping[str, Any],
    pretrained: str | Path,
    activation: Activation | None = None,
    layer_norm_eps: float | None = None,
    vision: str | Path | None = None,
    tokenizer: str | Path | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    text_cache: TextCache = None,
) -> LoadedCLIP:
    """Returns a CLIP model with its weights, tokenizer and pixel statistics.

    Args:
        model: an open_clip architecture name (``'ViT-B-16-quickgelu'``), an open_clip model config
            as a dict, or an embedded model (``'tiny_clip_scenes'``).
        pretrained: an open_clip tag (``'openai'``), a file in a format that
            :func:`~ovseg.encoders.clip_files.load_clip_weights` knows or, beside a model config,
            one that ``tools/export.py tiny-clip`` wrote, ``'embedded'`` for the weights that ship
            with ovseg, or ``'random'``, which must be asked for by that name.
        activation: replaces the activation of the vision transformer's MLPs (MaskCLIP runs
            QuickGELU weights with the erf GELU). None keeps the architecture's.
        layer_norm_eps: replaces the epsilon of the vision transformer's layer norms. None keeps it.
        vision: a file whose vision tower replaces that of `pretrained` (DIVA, un2CLIP).
        tokenizer: folder or hub name of a tokenizer instead of the architecture's.
        mean: pixel mean that the weights were trained with, RGB in units of [0, 1]. None for the
            tag's, or else for what the architecture's weights are trained with.
        std: pixel standard deviation, likewise.
        text_cache: folder of encodings, ``'default'`` for the usual one: the text tower of a file
            that was loaded before stays there until a sentence is asked that has none, see
            :func:`~ovseg.encoders.two_towers.build_towers`. None loads both towers.

    Raises:
        UserError: unknown name or tag, weights that do not fit, no network for the download, a
            tokenizer that cannot be read, or statistics that are no three numbers.
        FileNotFoundError: `pretrained` looks like a path and there is no such file.
    """
    if model in EMBEDDED_MODELS:
        if pretrained != 'embedded':
            raise UserError(
                f"clip.pretrained of the embedded model '{model}' must be 'embedded', "
                f"got '{pretrained}'"
            )
        if vision is not None or tokenizer is not None:
            raise UserError(
                f"clip.vision and clip.tokenizer do not go with the embedded model '{model}', "
                'which has its own; remove them'
            )
        from ovseg.encoders.tiny import build_tiny_clip

        clip, own_tokenizer, own_mean, own_std = build_tiny_clip(model)
        loaded = LoadedCLIP(clip, own_tokenizer, tuple(own_mean), tuple(own_std), model, 'embedded')
    elif not isinstance(model, str) and is_exported(pretrained):
        from ovseg.encoders.tiny import load_exported_clip

        clip, own_tokenizer, own_mean, own_std = load_exported_clip(pretrained, model)
        name = Path(pretrained).name
        loaded = LoadedCLIP(clip, own_tokenizer, tuple(own_mean), tuple(own_std), 'custom', name)
    else:
        loaded = _load_open_clip(model, pretrained, vision, tokenizer, text_cache)
    override_vision(loaded.model.visual, activation, layer_norm_eps)
    loaded.model.eval().requires_grad_(False)
    return replace(
        loaded,
        mean=loaded.mean if mean is None else _three_numbers('mean', mean),
        std=loaded.std if std is None else _three_numbers('std', std, above=0.0),
    )


def _three_numbers(
    name: str, values: Sequence[float], above: float = -math.inf
) -> tuple[float, ...]:
    """Pixel statistics of a config.

    Raises:
        UserError: they are none.
    """
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != 3 or not all(above < number < math.inf for number in numbers):
        raise UserError(
            f'clip.{name} is three numbers, red, green and blue, of pixels in [0, 1]'
            f'{"" if above < 0 else " and above 0"}, got {values}'
        )
    return numbers


@dataclass(frozen=True)
class OpenCLIPFile:
    """A weight file of an open_clip model, see :class:`~ovseg.encoders.two_towers.ModelOfFiles`.

    Attributes:
        config: of the model, as open_clip has it.
        path: of the file.
    """

    config: Mapping[str, Any]
    path: str

    def build(self, towers: Towers) -> nn.Module:
        """See :class:`~ovseg.encoders.two_towers.ModelOfFiles`."""
        # Before the model is built, which takes seconds.
        of_file = read_state_dict(self.path, partial(may_be_of, towers))
        if towers == 'text' and needs_both(of_file):
            both = self.build('both')
            del both.visual
            return both
        state = plain_names(of_file)
        config = dict(self.config)
        if towers == 'vision':
            config |= {'text_cfg': _LEAST_TEXT, 'custom_text': False}
        else:
            config = with_context_of(of_file, config)
        if towers == 'text':
            config['vision_cfg'] = _LEAST_VISION
        with Unfilled():
            clip: Any = build_architecture(config)
        if towers == 'vision':
            clip = _without_text(clip)
        elif towers == 'text':
            del clip.visual
        load_clip_weights(clip, state, self.path, towers)
        return clip


def _without_text(clip: nn.Module) -> nn.Module:
    vision = nn.Module()
    for name in ('visual', 'logit_scale', 'logit_bias'):
        setattr(vision, name, getattr(clip, name))
    return vision


def build_architecture(config: Mapping[str, Any]) -> CLIP | CustomTextCLIP:
    """Returns an open_clip model with random weights from an open_clip model config.

    Args:
        config: ``embed_dim``, ``vision_cfg``, ``text_cfg`` and the optional fields of open_clip's
            JSON files.

    Raises:
        UserError: the config has a field that open_clip does not know, or a text tower of
            transformers whose sizes cannot be had.
    """
    settings = deepcopy(dict(config))
    custom_text = settings.pop('custom_text', False) or 'hf_model_name' in settings['text_cfg']
    for tower in ('vision_cfg', 'text_cfg'):
        # Weights of single towers are never fetched behind the user's back.
        key = 'timm_model_pretrained' if tower == 'vision_cfg' else 'hf_model_pretrained'
        if key.replace('pretrained', 'name') in settings[tower]:
            settings[tower] = {**settings[tower], key: False}
    if 'hf_model_name' in settings['text_cfg']:
        settings['text_cfg']['hf_model_name'] = _hub_config(settings['text_cfg']['hf_model_name'])
    model_class = CustomTextCLIP if custom_text else CLIP
    try:
        return model_class(**settings)
    except TypeError as error:
        raise UserError(f'clip.model is not an open_clip model config: {error}') from error


def _hub_config(name: str) -> str:
    """The folder with the sizes of a text tower of transformers'."""
    with of_extra('transformers', f"The text tower '{name}' is built by transformers"):
        import transformers  # noqa: F401
    if os.path.isdir(name):
        return name
    return str(fetch_from_hub(name, 'config.json', 'clip.model.text_cfg.hf_model_name').parent)


def _load_open_clip(
    model: str | Mapping[str, Any],
    pretrained: str | Path,
    vision: str | Path | None,
    tokenizer: str | Path | None,
    text_cache: TextCache,
) -> LoadedCLIP:
    if isinstance(model, str):
        name, config = model, architecture_config(model, EMBEDDED_MODELS)
    else:
        name, config = 'custom', deepcopy(dict(model))
        for tower in ('vision_cfg', 'text_cfg'):
            if not isinstance(config.get(tower), Mapping):
                raise UserError(
                    f'clip.model is not an open_clip model config: {tower} must be a dict of its '
                    f'sizes, got {config.get(tower)}'
                )
    mean, std = trained_statistics(model)
    weights = 'random'
    if pretrained != 'random':
        path, of_tag = locate_weights(name, pretrained, bool(config.get('quick_gelu', False)))
        mean, std = of_tag or (mean, std)
        weights = str(pretrained) if of_tag else Path(path).name
        path = wherever(path)
        clip = build_towers(OpenCLIPFile(config, path), [path], text_cache)
        if 'hf_model_name' not in config['text_cfg']:
            length = {'context_length': clip.context_length}  # LongCLIP's files have their own
            config = {**config, 'text_cfg': {**config['text_cfg'], **length}}
    tokens = build_tokenizer(config['text_cfg'], tokenizer, canonical=_is_siglip(config))
    if pretrained == 'random':
        clip = build_architecture(config)
    if vision is not None:
        load_vision_weights(clip.visual, read_state_dict(vision), vision)
        weights = f'{weights} + {Path(vision).name}'
    return LoadedCLIP(clip, tokens, mean, std, name, weights)


def _is_siglip(config: Mapping[str, Any]) -> bool:
    """Whether the text tower is SigLIP's own; others stand beside its vision tower, too."""
    tower = config['vision_cfg'].get('timm_model_name') or ''
    return 'siglip' in tower and 'hf_model_name' not in config['text_cfg']


def override_vision(visual: nn.Module, activation: str | None, eps: float | None) -> None:
    """Sets activation and layer-norm epsilon of a vision transformer.

    Args:
        visual: open_clip's ``VisionTransformer``.
        activation: see :func:`load_clip`.
        eps: see :func:`load_clip`.

    Raises:
        UserError: unknown activation, or another kind of tower.
    """
    if activation is None and eps is None:
        return
    if activation is not None and activation not in ACTIVATIONS:
        raise UserError(f"clip.activation must be one of {list(ACTIVATIONS)}, got '{activation}'")
    if not isinstance(visual, open_clip.transformer.VisionTransformer):
        raise UserError(
            'clip.activation and clip.layer_norm_eps apply to vision transformers only; '
            f'remove them for {type(visual).__name__}'
        )
    for module in visual.modules():
        if eps is not None and isinstance(module, nn.LayerNorm):
            module.eps = eps
        if activation is not None and isinstance(module, nn.Sequential) and hasattr(module, 'gelu'):
            module.gelu = ACTIVATIONS[activation]()
