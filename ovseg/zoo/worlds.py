"""Small worlds: which weights were trained in one, and know nothing of any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

SCENES = 'scenes'
# What takes any words and photographs, without more than one download.
FOR_PHOTOGRAPHS = 'maskclip-vit-b16'
# Weights that ship with ovseg and match words with pictures, by the world of their training.
_WORLDS = {
    'tiny_clip_scenes': SCENES,
    'tiny_siglip_scenes': SCENES,
    'ovseg_clip_tiny_scenes': SCENES,
    'ovseg_tiny_scenes': SCENES,
    'denseclip_tiny_scenes': SCENES,
    'tiny_convnext_scenes': SCENES,
    'fcclip_tiny_scenes': SCENES,
    'tiny_sam3_scenes': SCENES,
}


def world_of(config: Mapping[str, Any], checkpoint: object = None) -> str | None:
    """The small world whose words and pictures alone a model knows; None for all others.

    Args:
        config: of the model; the weights that it names decide, ``load_from`` before the model's.
        checkpoint: weights instead of these; a user's own know what they were trained on.

    Example:
        >>> world_of({'model': {'clip': {'model': 'tiny_clip_scenes'}}})
        'scenes'
    """
    saved = config.get('saved')
    if saved is not None and checkpoint is None:
        return SCENES if saved.get('world') == SCENES else None
    file = checkpoint if checkpoint is not None else config.get('load_from')
    names = [str(file)] if file is not None else _texts(config.get('model'))
    for name in names:
        if (stem := PurePath(name).name.removesuffix('.safetensors')) in _WORLDS:
            return _WORLDS[stem]
    return None


def _texts(settings: Any) -> Iterator[str]:
    if isinstance(settings, str):
        yield settings
    elif isinstance(settings, Mapping):
        for value in settings.values():
            yield from _texts(value)
    elif isinstance(settings, (list, tuple)):
        for value in settings:
            yield from _texts(value)
