"""A text tower that stays in its files until a sentence is asked that nobody has encoded yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ovseg.errors import UserError
from ovseg.locks import Lock
from ovseg.text.fingerprint import weights_identity
from ovseg.text.known_towers import FilesMark, TextFacts, TextSource
from ovseg.torch_modes import plain_torch


def facts_of(model: nn.Module) -> TextFacts:
    """What is asked of a text tower before it encodes anything.

    Args:
        model: with the tower, such as open_clip's CLIP.
    """
    lengths = (getattr(owner, 'context_length', None) for owner in _owners(model))
    length = next((each for each in lengths if isinstance(each, int) and each > 0), None)
    return TextFacts(weights_identity(model), length, width_of(model))


def width_of(model: nn.Module) -> int | None:
    """D of the text space, where a model says it or has a projection to it."""
    said = getattr(model, 'embed_dim', None)
    if isinstance(said, int):
        return said
    for owner in _owners(model):
        projection = getattr(owner, 'text_projection', None)
        if isinstance(projection, nn.Linear):
            return projection.out_features
        if isinstance(projection, Tensor) and projection.ndim == 2:
            return projection.shape[1]
    return None


def _owners(model: nn.Module) -> tuple[object, ...]:
    return (model, getattr(model, 'text', None))


class WaitingText:
    """The text tower of a model that has none in memory.

    It is no module and no part of one, so it has no parameters: whoever asks for it says where and
    in which precision. Threads may share it: one of them loads the tower, once. A copy, deep or
    pickled, has what this one has: the tower, or the files that it waits in.

    Args:
        build: makes a model with ``encode_text`` of the files, on the CPU, as it was saved; called
            when it is needed.
        source: of the tower.
        mark: of its files when the other tower was read.
        facts: known of it, as `build` makes it, in float32.
    """

    def __init__(
        self,
        build: Callable[[], nn.Module],
        source: TextSource,
        mark: FilesMark,
        facts: TextFacts,
    ) -> None:
        self._build, self._source, self._mark = build, source, mark
        self._facts = {torch.float32: facts}
        self._tower: nn.Module | None = None
        self._dtype = torch.float32
        self._lock = Lock()

    @property
    def is_loaded(self) -> bool:
        """Whether the tower is in memory."""
        return self._tower is not None

    def facts(self, like: Tensor) -> TextFacts:
        """What is known of the tower in a precision; loads it in one that was never asked for.

        Args:
            like: a tensor of this precision and place.
        """
        known = self._facts.get(like.dtype)
        if known is None:
            with self._lock:
                known = self._source.recall(self._mark, like.dtype)
                if known is None:
                    known = facts_of(self.tower(like))
                    self._source.remember(self._mark, like.dtype, known)
                self._facts[like.dtype] = known
        return known

    def tower(self, like: Tensor) -> Any:
        """The tower; it is loaded if it is not in memory.

        Args:
            like: a tensor of the precision and on the device that are wanted.

        Raises:
            UserError: its files are gone, or hold another text tower than when they were first
                read.
        """
        with self._lock:
            if self._tower is None or self._dtype != like.dtype:
                # Never cast back: digits that were lost would stay so.
                self._tower = self._load().to(dtype=like.dtype)
                self._dtype = like.dtype
            if next(self._tower.parameters()).device != like.device:
                self._tower.to(like.device)
            return self._tower

    def _load(self) -> nn.Module:
        try:
            with plain_torch():
                tower = self._build()
        except (OSError, UserError) as error:
            raise UserError(
                f'words that are in no cache need the text tower of {self._names()}, which cannot '
                f'be read any more ({error}); put the file back as it was, or build the model anew'
            ) from error
        if weights_identity(tower) != self._facts[torch.float32].identity:
            raise UserError(
                f'words that are in no cache need the text tower of {self._names()}, and there is '
                'another one in it than when the model was built; put the file back as it was, or '
                'build the model anew'
            )
        return tower

    def _names(self) -> str:
        return ' and '.join(self._source.files)
