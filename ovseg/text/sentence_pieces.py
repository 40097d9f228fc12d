"""SentencePiece's own tokenizer, as a text tower of a config calls it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ovseg.errors import UserError
from ovseg.extras import of_extra
from ovseg.input_files import read_bytes


class SentencePieces:
    """Sentences to ids, lower-cased, without start or end, filled up with 0.

    It reads the published ``tokenizer.model`` itself: copies of it in other formats leave
    characters out that SentencePiece calls unknown.

    Args:
        find: gives the path of the file; asked with the first sentence, so that a model whose rows
            are ready fetches no tokenizer.
        context_length: L, ids of a sentence; further ones are left out.
    """

    def __init__(self, find: Callable[[], str | Path], context_length: int = 64) -> None:
        self._find = find
        self.context_length = context_length

    @cached_property
    def _processor(self) -> Any:
        path = self._find()
        with of_extra('transformers', f'{path} is read by sentencepiece'):
            from sentencepiece import SentencePieceProcessor
        content = read_bytes(path, 'tokenizer')
        try:
            return SentencePieceProcessor(model_proto=content)
        except RuntimeError as error:
            raise UserError(
                f'{path} is no model of SentencePiece; give a tokenizer.model'
            ) from error

    def __call__(self, sentences: Sequence[str], context_length: int | None = None) -> Tensor:
        """Ids (P, L) int64 of sentences.

        Raises:
            UserError: sentencepiece is missing, or the file is no model of it.
            FileNotFoundError: there is no such file.
        """
        lowered = [sentence.lower() for sentence in sentences]
        return filled_up(self._processor.encode(lowered), context_length or self.context_length)


class Bytes:
    """The bytes of sentences as ids, for weights that were never trained on any words.

    Args:
        vocabulary: how many ids the tower knows.
        context_length: as in :class:`SentencePieces`.
    """

    def __init__(self, vocabulary: int, context_length: int = 64) -> None:
        self._vocabulary = vocabulary
        self.context_length = context_length

    def __call__(self, sentences: Sequence[str], context_length: int | None = None) -> Tensor:
        """Ids (P, L) int64 of sentences."""
        ids = [
            [1 + byte % (self._vocabulary - 1) for byte in sentence.lower().encode()]
            for sentence in sentences
        ]
        return filled_up(ids, context_length or self.context_length)


def filled_up(ids: Sequence[Sequence[int]], length: int) -> Tensor:
    """Rows of one length, cut or filled up with 0.

    Example:
        >>> filled_up([[5], [6, 7, 8]], 2).tolist()
        [[5, 0], [6, 7]]
    """
    rows = torch.zeros(len(ids), length, dtype=torch.int64)
    for row, values in zip(rows, ids, strict=True):
        kept = values[:length]
        row[: len(kept)] = torch.tensor(kept, dtype=torch.int64)
    return rows
