"""CLIP models from open_clip, used as they are: by registry tag, by file, embedded, or random."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import open_clip
from open_clip import CLIP, CustomTextCLIP
from open_clip import pretrained as open_clip_weights
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed
from torch import Tensor, nn

from ovseg.downloads import fetch_weights
from ovseg.encoders.build import build_dense_encoder
from ovseg.encoders.dense import DenseEncoder
from ovseg.errors import UserError, nearest
from ovseg.text.encoder import TextEncoder
from ovseg.weight_files import is_there, load_strictly, read_state_dict

Activation = Literal['gelu', 'quick_gelu']
ACTIVATIONS: dict[str, type[nn.Module]] = {
    'gelu': nn.GELU,
    'quick_gelu': open_clip.transformer.QuickGELU,
}
EMBEDDED_MODELS = ('tiny_clip_scenes',)


@dataclass(frozen=True)
class LoadedCLIP:
    """A frozen CLIP model with what belongs to its weights.

    Attributes:
        model: open_clip's ``CLIP`` or ``CustomTextCLIP``, in eval mode, without gradients.
        tokenizer: the tokenizer of its text tower.
        mean: pixel mean that the weights were trained with, RGB, in units of [0, 1].
        std: pixel standard deviation, likewise.
        name: architecture name.
        weights: tag, file name, ``'embedded'`` or ``'random'``.
    """

    model: CLIP | CustomTextCLIP
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
) -> LoadedCLIP:
    """Returns a CLIP model with its weights, tokenizer and pixel statistics.

    Args:
        model: an open_clip architecture name (``'ViT-B-16-quickgelu'``), an open_clip model config
            as a dict, or an embedded model (``'tiny_clip_scenes'``).
        pretrained: an open_clip tag (``'openai'``), a file in OpenAI's or open_clip's format,
            ``'embedded'`` for the weights that ship with ovseg, or ``'random'``, which must be
            asked for by that name.
        activation: replaces the activation of the vision transformer's MLPs (MaskCLIP runs
            QuickGELU weights with the erf GELU). None keeps the architecture's.
        layer_norm_eps: replaces the epsilon of the vision transformer's layer norms. None keeps it.

    Raises:
        UserError: unknown name or tag, weights that do not fit, or no network for the download.
        FileNotFoundError: `pretrained` looks like a path and there is no such file.
    """
    if model in EMBEDDED_MODELS:
        if pretrained != 'embedded':
            raise UserError(
                f"clip.pretrained of the embedded model '{model}' must be 'embedded', "
                f"got '{pretrained}'"
            )
        from ovseg.encoders.tiny import build_tiny_clip

        clip, tokenizer, mean, std = build_tiny_clip(model)
        loaded = LoadedCLIP(clip, tokenizer, tuple(mean), tuple(std), model, 'embedded')
    else:
        loaded = _load_open_clip(model, pretrained)
    override_vision(loaded.model.visual, activation, layer_norm_eps)
    loaded.model.eval().requires_grad_(False)
    return loaded


def build_architecture(config: Mapping[str, Any]) -> CLIP | CustomTextCLIP:
    """Returns an open_clip model with random weights from an open_clip model config.

    Args:
        config: ``embed_dim``, ``vision_cfg``, ``text_cfg`` and the optional fields of open_clip's
            JSON files.

    Raises:
        UserError: the config has a field that open_clip does not know.
    """
    settings = deepcopy(dict(config))
    custom_text = settings.pop('custom_text', False) or 'hf_model_name' in settings['text_cfg']
    for tower in ('vision_cfg', 'text_cfg'):
        # Weights of single towers are never fetched behind the user's back.
        key = 'timm_model_pretrained' if tower == 'vision_cfg' else 'hf_model_pretrained'
        if key.replace('pretrained', 'name') in settings[tower]:
            settings[tower] = {**settings[tower], key: False}
    model_class = CustomTextCLIP if custom_text else CLIP
    try:
        return model_class(**settings)
    except TypeError as error:
        raise UserError(f'clip.model is not an open_clip model config: {error}') from error


def _load_open_clip(model: str | Mapping[str, Any], pretrained: str | Path) -> LoadedCLIP:
    if isinstance(model, str):
        name, config = model, open_clip.get_model_config(model)
        if config is None:
            raise UserError(
                f"open_clip has no architecture '{model}' (clip.model)."
                f'{nearest(model, [*open_clip.list_models(), *EMBEDDED_MODELS])}'
            )
        tokenizer = open_clip.get_tokenizer(model)
    else:
        name, config = 'custom', dict(model)
        tokenizer = open_clip.SimpleTokenizer(
            context_length=config['text_cfg'].get('context_length', 77)
        )
    preprocess = {'mean': open_clip.OPENAI_DATASET_MEAN, 'std': open_clip.OPENAI_DATASET_STD}
    if pretrained == 'random':
        clip, weights = build_architecture(config), 'random'
    else:
        # Before the model is built, which takes seconds.
        path, tag = _locate_weights(name, pretrained, bool(config.get('quick_gelu', False)))
        state = read_state_dict(path)
        clip = build_architecture(config)
        load_clip_weights(clip, state, path)
        preprocess.update({key: tag[key] for key in ('mean', 'std') if tag.get(key)})
        weights = str(pretrained) if tag else Path(path).name
    return LoadedCLIP(
        clip, tokenizer, tuple(preprocess['mean']), tuple(preprocess['std']), name, weights
    )


def load_clip_weights(
    clip: CLIP | CustomTextCLIP, state: dict[str, Tensor], origin: object
) -> None:
    """Loads a state dict in OpenAI's, open_clip's or a format that open_clip converts, strictly.

    Args:
        clip: an open_clip model.
        state: tensors by name; half precision is cast to the model's dtype.
        origin: where they come from, for messages.

    Raises:
        UserError: a key is missing, unexpected or of another shape.
    """
    state = convert_state_dict(clip, dict(state))
    if 'positional_embedding' in state and not hasattr(clip, 'positional_embedding'):
        state = convert_to_custom_text_state_dict(state)
    if 'logit_scale' in state:
        state['logit_scale'] = state['logit_scale'].reshape(clip.logit_scale.shape)
    # Transformers' text towers saved this buffer until 4.31; it is arange(n).
    state.pop('text.transformer.embeddings.position_ids', None)
    resize_pos_embed(state, clip)
    load_strictly(clip, state, origin)


def _locate_weights(name: str, pretrained: str | Path, quick_gelu: bool) -> tuple[str, dict]:
    """The weight file and, if `pretrained` is a tag, its open_clip entry."""
    # open_clip has each architecture twice, with and without QuickGELU.
    sibling = name.removesuffix('-quickgelu') if quick_gelu else f'{name}-quickgelu'
    tag = open_clip_weights.get_pretrained_cfg(name, str(pretrained))
    if not tag:
        # A folder or a pipe is refused where files are read.
        if is_there(pretrained):
            return str(pretrained), {}
        if Path(pretrained).suffix:
            raise FileNotFoundError(
                f"clip.pretrained='{pretrained}' does not exist; check the path of the weights"
            )
        if open_clip_weights.get_pretrained_cfg(sibling, str(pretrained)):
            raise UserError(_other_activation(name, sibling, pretrained))
        tags = open_clip_weights.list_pretrained_tags_by_model(name)
        raise UserError(
            f"clip.pretrained='{pretrained}' is neither a file nor a tag of '{name}' "
            f'(known: {", ".join(tags) or "none"}).{nearest(str(pretrained), tags)}'
        )
    if bool(tag.get('quick_gelu', False)) != quick_gelu:
        # open_clip only warns, and the features are silently wrong.
        raise UserError(_other_activation(name, sibling, pretrained))
    return fetch_weights(tag, f"'{pretrained}' of '{name}'"), tag


def _other_activation(name: str, sibling: str, pretrained: str | Path) -> str:
    return (
        f"weights '{pretrained}' were trained with another activation than '{name}' has; "
        f"set clip.model='{sibling}'"
    )


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
