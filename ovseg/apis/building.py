"""A segmentor from its config, with the caller's weights and templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope

from ovseg.engine.checkpoint import load_checkpoint_strict
from ovseg.errors import UserError
from ovseg.registry import MODELS
from ovseg.segmentors.clip_dinoiser import CLIPDINOiser
from ovseg.segmentors.mask_adapted_clip import OVSeg
from ovseg.segmentors.maskclip_plus import MaskCLIPPlusSegmentor
from ovseg.segmentors.trained import TrainedSegmentor
from ovseg.segmentors.training_free import TrainingFreeSegmentor
from ovseg.weight_files import read_tensors


def build_model(
    config: Config,
    checkpoint: str | Path | None = None,
    templates: str | Path | Sequence[str] | None = None,
) -> TrainingFreeSegmentor | MaskCLIPPlusSegmentor | TrainedSegmentor | OVSeg:
    """The model of a config, on the CPU.

    Args:
        config: has a ``model`` of a training-free kind, or of one that was trained.
        checkpoint: for a training-free model CLIP weights instead of ``model.clip.pretrained``: a
            file or a tag; CLIP-DINOiser also takes the checkpoint of its two layers, the published
            ``last.pt`` included. For a trained one its checkpoint; the config may name one itself
            (``load_from``). ``'random'`` for either:
            random weights in all its networks, for measuring time.
        templates: instead of ``model.text.templates`` of a model that takes any words.

    Raises:
        UserError: the config has no such model, or weights or templates do not fit.
        FileNotFoundError: there is no such weights file.
    """
    settings = config.get('model')
    if not settings or not isinstance(settings.get('type'), str):
        raise UserError(f'The config {config.filename} has no model to load.')
    with DefaultScope.overwrite_default_scope('ovseg'):
        kind = MODELS.get(settings.type)
        if kind is not None and issubclass(kind, (MaskCLIPPlusSegmentor, TrainedSegmentor)):
            return _build_trained(config, checkpoint or config.get('load_from'), templates)
    if 'clip' not in settings:
        raise UserError(f'The config {config.filename} has no model with a clip to load.')
    is_dinoiser = kind is not None and issubclass(kind, CLIPDINOiser)
    has_layers = is_dinoiser and _holds_layers(checkpoint)
    is_random = str(checkpoint) == 'random'
    is_trained = kind is not None and issubclass(kind, OVSeg) and kind.needs_checkpoint(settings)
    if is_trained:
        checkpoint = _expect(config, checkpoint or config.get('load_from'))
    # A file for the model, not for its CLIP.
    is_whole = has_layers or (is_trained and not is_random)
    if is_dinoiser and (has_layers or is_random):
        kind.expect_checkpoint(settings)
    if is_random:
        _randomise(settings)
    elif checkpoint is not None and not is_whole:
        settings.clip.pretrained = str(checkpoint)
    if templates is not None:
        is_one = isinstance(templates, (str, Path))
        chosen = str(templates) if is_one else list(templates)
        settings.text = {**settings.get('text', {}), 'templates': chosen}
    with DefaultScope.overwrite_default_scope('ovseg'):
        model = MODELS.build(settings)
    if is_whole:
        load_checkpoint_strict(model, checkpoint)
    return model


def _randomise(settings: dict[str, Any]) -> None:
    """Random weights for every network of a model: what has weights is named by ``model``."""
    if 'model' in settings:
        settings['pretrained'] = 'random'
    settings.pop('adapted', None)  # fits no other weights
    for part in settings.values():
        if isinstance(part, Mapping):
            _randomise(part)


def _holds_layers(checkpoint: str | Path | None) -> bool:
    """Whether a file holds CLIP-DINOiser's two layers, and not a CLIP."""
    if checkpoint is None or not Path(checkpoint).expanduser().is_file():
        return False
    content = read_tensors(checkpoint)
    if not isinstance(content, dict):
        return False
    state = content.get('state_dict', content.get('model_state_dict', content))
    return any(str(name).endswith('obj_proj.weight') for name in state)


def _expect(config: Config, checkpoint: str | Path | None) -> str | Path:
    if checkpoint is None:
        raise UserError(
            f'The model of {config.filename} is a trained one: give its checkpoint '
            '(--checkpoint FILE, or checkpoint=FILE in Python).'
        )
    return checkpoint


def _build_trained(
    config: Config, checkpoint: str | Path | None, templates: object
) -> MaskCLIPPlusSegmentor | TrainedSegmentor:
    checkpoint = _expect(config, checkpoint)
    if templates is not None:
        raise UserError(
            f'The model of {config.filename} was trained with its own words: give no templates.'
        )
    model = MODELS.build(config.model)
    if str(checkpoint) != 'random':
        load_checkpoint_strict(model, checkpoint)
    return model
