"""Vision-language models of files: both towers, or the vision tower while the text tower waits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.text.cache import default_cache_dir
from ovseg.text.known_towers import TextSource
from ovseg.text.waiting import WaitingText, facts_of
from ovseg.torch_modes import plain_torch
from ovseg.weight_files import find_weights

Towers = Literal['both', 'vision', 'text']
# Where encodings are kept: a folder, the default one, or nowhere.
TextCache = Path | str | Literal['default'] | None
_SHARED = ('logit_scale', 'logit_bias')


class ModelOfFiles(Protocol):
    """How weight files become a model; goes to other processes, and is compared by what it shows.

    Its ``repr`` names all that decides what the text tower becomes, beside the files' content.
    """

    def build(self, towers: Towers) -> Any:
        """The model with its weights, on the CPU.

        Args:
            towers: which of them are wanted. Without ``visual`` it still has ``encode_text``;
                without text it has ``visual``, ``logit_scale`` and ``logit_bias``.
        """
        ...


class VisionAlone(nn.Module):
    """A vision-language model whose text tower waits in its files.

    Args:
        model: with the vision tower, whose parts are taken over.
        text: the text tower.

    Attributes:
        context_length: tokens of a sentence, None where the text tower does not say.
    """

    def __init__(self, model: Any, text: WaitingText) -> None:
        super().__init__()
        self.visual = model.visual
        self.logit_scale = model.logit_scale
        self.logit_bias = getattr(model, 'logit_bias', None)
        self.waiting_text = text
        self.context_length = text.facts(model.logit_scale).context_length

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """Embeddings (B, D) of images (B, 3, H, W), normalised."""
        pooled = self.visual(image)
        return F.normalize(pooled, dim=-1) if normalize else pooled

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """Embeddings (P, D) of tokens (P, L) int64; loads the text tower."""
        return self.waiting_text.tower(self.logit_scale).encode_text(tokens, normalize=normalize)


def build_towers(model: ModelOfFiles, text_files: Sequence[str | Path], cache: TextCache) -> Any:
    """Returns a model whose text tower waits in its files, if its identity is known.

    It is known once these files were loaded in the same way; then all weights were looked at.
    Torch's random numbers are then as they were, however many towers were built.

    Args:
        model: how the files become a model.
        text_files: that the text tower is read from.
        cache: of the encodings; None, and both towers are built.

    Raises:
        UserError: files that are written while they are read, and what `model` raises.
    """
    if cache is None:
        return model.build('both')
    folder = default_cache_dir() if cache == 'default' else cache
    files = tuple(os.path.abspath(find_weights(path)) for path in text_files)
    source = TextSource(files, repr(model), str(folder))
    try:
        mark = source.mark()
    except OSError:
        return _built(model, 'both')  # which says what is wrong with them
    facts = source.recall(mark, torch.float32)
    both = _built(model, 'both' if facts is None else 'vision')
    if source.mark() != mark:
        raise UserError(f'{" or ".join(files)} was written while it was read; build the model anew')
    if facts is None:
        source.remember(mark, torch.float32, facts_of(both))
        return both
    return VisionAlone(both, WaitingText(partial(_built, model, 'text'), source, mark, facts))


def _built(model: ModelOfFiles, towers: Towers) -> Any:
    # What is drawn before the weights are read must not depend on what a cache knows.
    with plain_torch(gradients=True), torch.random.fork_rng(devices=[]):
        return model.build(towers).eval().requires_grad_(False)


def wherever(path: str | Path) -> str:
    """The name of a weight file, as it is found from another working folder, too.

    Args:
        path: as :func:`~ovseg.weight_files.find_weights` takes it.
    """
    text = str(path)
    return text if '://' in text else os.path.abspath(os.path.expanduser(text))


def is_of(towers: Towers, name: str, vision: str | tuple[str, ...] = 'visual.') -> bool:
    """Whether a parameter belongs to the wanted towers, or to none of them.

    Args:
        towers: that are wanted.
        name: of the parameter.
        vision: what names of the vision tower begin with; all others but the temperature's and the
            bias's are the text tower's.

    Example:
        >>> is_of('text', 'visual.proj'), is_of('vision', 'logit_scale')
        (False, True)
    """
    if towers == 'both' or name in _SHARED:
        return True
    return name.startswith(vision) == (towers == 'vision')
