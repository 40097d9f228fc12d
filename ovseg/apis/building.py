"""A training-free segmentor from its config, with the caller's weights and templates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DefaultScope

from ovseg.errors import UserError
from ovseg.registry import MODELS
from ovseg.segmentors.training_free import TrainingFreeSegmentor


def build_model(
    config: Config,
    checkpoint: str | Path | None = None,
    templates: str | Path | Sequence[str] | None = None,
) -> TrainingFreeSegmentor:
    """The model of a config, on the CPU.

    Args:
        config: has a ``model`` with a ``clip``.
        checkpoint: CLIP weights instead of ``model.clip.pretrained``: a file, a tag, or
            ``'random'``.
        templates: instead of ``model.text.templates``.

    Raises:
        UserError: the config has no such model, or weights or templates do not fit.
        FileNotFoundError: there is no such weights file.
    """
    settings = config.get('model')
    if not settings or 'clip' not in settings:
        raise UserError(f'The config {config.filename} has no model with a clip to load.')
    if checkpoint is not None:
        settings.clip.pretrained = str(checkpoint)
    if templates is not None:
        is_one = isinstance(templates, (str, Path))
        chosen = str(templates) if is_one else list(templates)
        settings.text = {**settings.get('text', {}), 'templates': chosen}
    with DefaultScope.overwrite_default_scope('ovseg'):
        return MODELS.build(settings)
