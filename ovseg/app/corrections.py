"""Corrections of one visitor: pixels and what they are, as examples for the next answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from ovseg.apis import EncodedImage, OpenVocabSegmenter
from ovseg.apis.teaching import taught_of
from ovseg.errors import UserError, notify
from ovseg.exemplars import Bank
from ovseg.vocabulary.parsing import folded
from ovseg.vocabulary.vocabulary import Vocabulary

MOST_CORRECTIONS = 100


@dataclass(frozen=True)
class Correction:
    """A pixel that was given another class than it has.

    Attributes:
        picture: what :meth:`ovseg.app.desk.Desk.receive` gave for it.
        name: what its file is called.
        word: the class that it is, as it was asked for.
        row: of the pixel in the upright picture.
        column: likewise.
    """

    picture: str
    name: str
    word: str
    row: int
    column: int


# Of a visitor, in the order in which they were made.
Corrections: TypeAlias = tuple[Correction, ...]


def check_correction(
    segment: OpenVocabSegmenter,
    vocabulary: Vocabulary | None,
    image: EncodedImage,
    corrections: Corrections,
) -> None:
    """Stops at a last correction that cannot count.

    Args:
        segment: that is to learn from it.
        vocabulary: what is asked for.
        image: the picture of the new one.
        corrections: of the visitor, the new one last.

    Raises:
        UserError: a model that takes no examples, too many corrections, a word that is not asked
            for, a place outside of the picture.
    """
    taught_of(segment)
    last = corrections[-1]
    if len(corrections) > MOST_CORRECTIONS:
        raise UserError(
            f'There are {MOST_CORRECTIONS} corrections already: download the bank, which keeps '
            'them, and remove all, or undo some.'
        )
    image.check_pixel(last.row, last.column)
    asked = [] if vocabulary is None else list(vocabulary.asked)
    known = {folded(word) for item in asked for word in (item.name, *item.prompts)}
    if folded(last.word) not in known:
        raise UserError(
            f"'{last.word}' is none of the words that are asked for: add it to them, then correct."
        )


@contextmanager
def corrected(
    segment: OpenVocabSegmenter,
    corrections: Corrections,
    encode: Callable[[Correction], EncodedImage],
    kept: Bank | None,
) -> Iterator[Bank | None]:
    """Has a model know a visitor's corrections, beside what it was started with, for a while.

    Args:
        segment: nobody else may ask it meanwhile.
        corrections: of the visitor.
        encode: gives the picture of one, encoded by the model.
        kept: the bank that the same corrections gave before; None to make it.

    Yields:
        The bank; None for a model that takes no examples, which is told.

    Raises:
        UserError: the picture of a correction is gone.
    """
    taught = segment.model.taught
    if taught is None:
        notify(f'{segment.name} takes no examples, so that your corrections change nothing here.')
        yield None
        return
    with taught.lent(corrections):
        if kept is None:
            for each in corrections:
                segment.teach(each.word, encode(each), [(each.column, each.row)])
        else:
            taught.bank = kept
        yield taught.bank
