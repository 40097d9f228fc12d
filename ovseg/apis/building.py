"""A segmentor from its config, with the caller's weights and templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope

from ovseg.apis.encoded_image import settings_of_features
from ovseg.engine.checkpoint import load_checkpoint_strict
from ovseg.errors import UserError
from ovseg.input_files import cause_of
from ovseg.registry import MODELS
from ovseg.saved_weights import load_all_weights, weights_of_saved
from ovseg.segmentors.base import Segmentor
from ovseg.segmentors.text_rows import set_text
from ovseg.torch_modes import plain_torch
from ovseg.weight_files import find_weights
from ovseg.weight_files.places import check_named_files

RANDOM = 'random'


def build_model(
    config: Config,
    checkpoint: str | Path | None = None,
    templates: str | Path | Sequence[str] | None = None,
    text: Mapping[str, Any] | None = None,
) -> Segmentor:
    """The model of a config, on the CPU.

    Args:
        config: has a ``model`` that is a segmentor of ovseg's.
        checkpoint: weights instead of those that the config names, where a model of that kind
            takes them: for a training-free one a file or tag of its CLIP (CLIP-DINOiser also takes
            its two layers, the published ``last.pt`` included), for a trained one its checkpoint,
            which the config may name itself (``load_from``). ``'random'`` for either: random
            weights in all its networks, for measuring time.
        templates: instead of ``model.text.templates`` of a model that takes any words.
        text: further settings of ``model.text`` of such a model.

    Raises:
        UserError: the config has no such model, or weights or templates do not fit.
        FileNotFoundError: there is no such weights file.
    """
    settings = config.get('model')
    kind = model_kind(settings)
    if kind is None or not issubclass(kind, Segmentor):
        raise UserError(f'The config {config.filename} has no model to load.')
    saved = weights_of_saved(config)
    if saved is not None and checkpoint not in (None, RANDOM):
        raise UserError(f'{saved.parent} is a saved model with its weights: give no checkpoint.')
    if saved is None and kind.needs_checkpoint(settings):
        checkpoint = checkpoint or config.get('load_from')
        if checkpoint is None:
            raise UserError(
                f'The model of {config.filename} is a trained one: give its checkpoint '
                '(--checkpoint FILE, or checkpoint=FILE in Python).'
            )
    told = dict(text or {})
    if templates is not None:
        told['templates'] = str(templates) if isinstance(templates, Path) else templates
    if told:
        if not kind.takes_templates:
            raise UserError(
                f'The model of {config.filename} was trained with its own words: give no '
                f'{" and no ".join(told)}.'
            )
        set_text(settings, told)
    file: str | Path | None = None
    if str(checkpoint) == RANDOM:
        kind.randomise(settings)
    elif checkpoint is not None:
        file = kind.place_checkpoint(settings, checkpoint)
    if file is None:
        check_named_files(settings, 'model')
    else:
        file = find_weights(file)  # before minutes go into building what it is for
    built_from = settings_of_features(settings)
    with plain_torch(gradients=True), DefaultScope.overwrite_default_scope('ovseg'):
        try:
            model = MODELS.build(settings)
        except (UserError, FileNotFoundError):
            raise
        except Exception as error:
            if saved is None:
                raise  # a fault of a config is told as it is
            raise UserError(
                f'The settings of {config.filename} make no model ({cause_of(error)}): get it '
                'again.'
            ) from error
        if file is not None:
            load_checkpoint_strict(model, file)
        elif saved is not None and checkpoint is None:
            load_all_weights(model, saved)
    model.built_from = built_from
    return model


def model_kind(settings: Mapping[str, Any] | None) -> type | None:
    """The class that a model's settings name by its registered name; None where there is none.

    Args:
        settings: ``config.model``.
    """
    if not settings or not isinstance(settings.get('type'), str):
        return None
    with DefaultScope.overwrite_default_scope('ovseg'):
        kind = MODELS.get(settings['type'])
    return kind if isinstance(kind, type) else None
