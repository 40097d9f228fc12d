"""What stands behind a dense encoder and a text encoder, whatever package it comes from."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from torch import nn

from ovseg.encoders.clip import load_clip
from ovseg.encoders.dense import DenseEncoder
from ovseg.encoders.two_towers import TextCache
from ovseg.registry import MODELS, build_part
from ovseg.text.encoder import SentenceEncoder


class VisionLanguageModel(Protocol):
    """A frozen model with a tower for images and one for sentences, in one space.

    open_clip's models are one (:class:`~ovseg.encoders.clip.LoadedCLIP`). Another package's stand
    behind the same by one registered class, which a config names as ``model.clip.type``.
    """

    @property
    def model(self) -> nn.Module:
        """The weights, in eval mode, without gradients; the segmentor keeps it as ``clip``."""
        ...

    @property
    def mean(self) -> tuple[float, ...]:
        """Pixel mean that the weights were trained with, RGB, in units of [0, 1]."""
        ...

    @property
    def std(self) -> tuple[float, ...]:
        """Pixel standard deviation, likewise."""
        ...

    @property
    def name(self) -> str:
        """Name of the architecture."""
        ...

    @property
    def weights(self) -> str:
        """Name of the weights."""
        ...

    def dense_encoder(
        self, settings: Mapping[str, Any], mean: Sequence[float], std: Sequence[float]
    ) -> DenseEncoder:
        """The encoder of patches.

        Args:
            settings: what the config says of it (``model.encoder``).
            mean: pixel mean that images will be normalised with, RGB in [0, 1].
            std: pixel standard deviation, likewise.

        Raises:
            UserError: settings that it has not.
        """
        ...

    def text_encoder(
        self, cache_dir: Path | str | Literal['default'] | None = 'default'
    ) -> SentenceEncoder:
        """The encoder of sentences.

        Args:
            cache_dir: where encodings are kept, see :class:`~ovseg.text.TextEncoder`.
        """
        ...


def build_vision_language(
    config: Mapping[str, Any], text_cache: TextCache = None
) -> VisionLanguageModel:
    """The model that a config names.

    Args:
        config: with ``type`` a registered class and its arguments; without, arguments of
            :func:`~ovseg.encoders.clip.load_clip`.
        text_cache: where encodings are kept. Loaders that have an argument of this name may leave
            the text tower in its file until a sentence is asked that is not kept there; None for
            both towers.

    Raises:
        UserError: see the loaders.
    """
    if 'type' not in config:
        return load_clip(**{'text_cache': text_cache, **config})
    loader = config['type'] if callable(config['type']) else MODELS.get(config['type'])
    if loader is not None and 'text_cache' in inspect.signature(loader).parameters:
        config = {'text_cache': text_cache, **config}
    return build_part(config)
