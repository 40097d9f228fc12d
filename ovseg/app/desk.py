"""What the page does: pictures are handed in, encoded once, and asked about words.

Whoever asks says all that is asked in a :class:`Question`, so nothing that one user does is part of
what another one gets. Shared are the models, and pictures under the sum of their bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ovseg.apis import EncodedImage, OpenVocabSegmenter, SegmentationResult
from ovseg.apis.nearest_words import NearestWords
from ovseg.apis.teaching import taught_of
from ovseg.app.corrections import Correction, Corrections, check_correction, corrected
from ovseg.app.kept import KeptWithin
from ovseg.app.models import PageModels
from ovseg.errors import UserError, notices_heard, notify
from ovseg.exemplars import Bank, write_bank
from ovseg.images.reading import decode_rgb
from ovseg.locks import Lock
from ovseg.nested_tensors import map_tensors
from ovseg.vocabulary import Vocabulary
from ovseg.vocabulary.parsing import parse_string


@dataclass(frozen=True)
class Question:
    """All that is asked at once.

    Attributes:
        picture: what :meth:`Desk.receive` gave for it.
        name: what its file is called, without folders.
        model: which model is asked.
        words: what to look for, ``'cat, kitten; sofa'``; '' for a model with classes of its own.
        background: words for "none of these", or ''.
        threshold: in [0, 1]; pixels less sure than that are background. 0: none are.
        corrections: of the visitor, of this picture or others.
    """

    picture: str
    name: str
    model: str
    words: str
    background: str = ''
    threshold: float = 0.0
    corrections: Corrections = ()


@dataclass(frozen=True, eq=False)
class Answer:
    """Masks, and what is to be said about them.

    Attributes:
        result: of the question.
        notices: sentences on why it may not be what was wanted.
    """

    result: SegmentationResult
    notices: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Encoded:
    image: EncodedImage
    notices: tuple[str, ...]


class Desk:
    """Answers questions about pictures, for any number of users at once.

    One computes at a time: they share the processor or the GPU anyway, and its memory.

    Args:
        names: of the models that are offered, the one that the page starts with first.
        load: builds the model of a name.
        megabytes: what encoded pictures may take together, and pictures as they were handed in
            again as much (10^6 bytes); those not asked about for longest go first.
    """

    def __init__(
        self, names: list[str], load: Callable[[str], OpenVocabSegmenter], megabytes: float
    ) -> None:
        self.models = PageModels(names, load, self._forget)
        self._received: KeptWithin[bytes] = KeptWithin(megabytes)
        self._encoded: KeptWithin[_Encoded] = KeptWithin(megabytes)
        self._banks: KeptWithin[Bank] = KeptWithin(megabytes)
        self._computing = Lock()

    def receive(self, data: bytes) -> str:
        """Takes a picture.

        Args:
            data: the content of its file, read when it is first asked about.

        Returns:
            What it is asked for by: a hash of the content, which nobody can guess who has it not.
        """
        name = blake2b(data, digest_size=16).hexdigest()
        self._received.put(name, data, len(data))
        return name

    def look(self, question: Question) -> tuple[np.ndarray, tuple[str, ...]]:
        """Encodes a picture ahead of the first words.

        Args:
            question: of which picture and model; its words do not count.

        Returns:
            (H, W, 3) uint8 RGB, and what is to be said about it.

        Raises:
            UserError: as in :meth:`ask`.
            FileNotFoundError: as in :meth:`ask`.
        """
        segment = self.models.get(question.model)
        with self._computing:
            encoded = self._encode(question, segment)
        return encoded.image.image, encoded.notices

    def ask(self, question: Question) -> Answer:
        """Masks of what is asked.

        Args:
            question: what is asked, of which picture.

        Raises:
            UserError: no such picture or model, a file that is no image, words that cannot be
                read, or whatever else the model says.
            FileNotFoundError: weights of the model are not there.
        """
        segment = self.models.get(question.model)
        with notices_heard() as heard, self._computing:
            encoded = self._encode(question, segment)
            with self._corrected(question, segment):
                result = segment(
                    encoded.image,
                    _words(question.words),
                    background=question.background.strip() or None,
                    threshold=question.threshold or None,
                )
        result = replace(result, source=question.name)
        return Answer(result, tuple(dict.fromkeys([*encoded.notices, *heard])))

    def why(self, question: Question, row: int, column: int) -> NearestWords:
        """What competed for a pixel.

        Args:
            question: what was asked.
            row: of the pixel in the upright picture.
            column: likewise.

        Raises:
            UserError: as in :meth:`ask`; no such pixel.
            FileNotFoundError: as in :meth:`ask`.
        """
        segment = self.models.get(question.model)
        with notices_heard(), self._computing:  # they were told with the answer
            image = self._encode(question, segment).image
            with self._corrected(question, segment):
                return segment.nearest_words(
                    image,
                    _words(question.words),
                    at=(row, column),
                    background=question.background.strip() or None,
                    threshold=question.threshold or None,
                )

    def correct(self, question: Question, row: int, column: int, word: str) -> Question:
        """The question with one more correction, which the next answer knows.

        Args:
            question: what was asked.
            row: of a pixel that is wrong, in the upright picture.
            column: likewise.
            word: what it is, one of the words that are asked for.

        Raises:
            UserError: as in :meth:`ask`; see :func:`~ovseg.app.corrections.check_correction`.
            FileNotFoundError: as in :meth:`ask`.
        """
        last = Correction(question.picture, question.name, word.strip(), row, column)
        found = replace(question, corrections=(*question.corrections, last))
        segment = self.models.get(question.model)
        with notices_heard(), self._computing:
            image = self._encode(question, segment).image
            check_correction(segment, _words(question.words), image, found.corrections)
        return found

    def bank(self, question: Question, path: Path) -> None:
        """Writes the visitor's corrections as a bank of the model, with what that began with.

        Args:
            question: whose corrections.
            path: of the file.

        Raises:
            UserError: a model that takes no examples, no corrections, or as in :meth:`ask`.
        """
        segment = self.models.get(question.model)
        taught_of(segment)
        if not question.corrections:
            raise UserError('Nothing was corrected yet, so that there is no bank.')
        with (
            notices_heard(),
            self._computing,
            self._corrected(question, segment) as bank,
        ):
            assert bank is not None  # of a model that takes examples
            write_bank(bank, path)

    @contextmanager
    def _corrected(self, question: Question, segment: OpenVocabSegmenter) -> Iterator[Bank | None]:
        corrections = question.corrections
        if not corrections:
            yield None
            return

        def encode(each: Correction) -> EncodedImage:
            of_it = replace(question, picture=each.picture, name=each.name)
            try:
                return self._encode(of_it, segment).image
            except UserError as error:
                raise UserError(
                    f"The correction '{each.word}' is of {each.name}: {error} Or undo it."
                ) from error

        key = (question.model, corrections)
        kept = self._banks.get(key)
        with corrected(segment, corrections, encode, kept) as bank:
            if kept is None and bank is not None:
                self._banks.put(key, bank, _bytes_in(bank))
            yield bank

    def _encode(self, question: Question, segment: OpenVocabSegmenter) -> _Encoded:
        key = (question.model, question.picture)
        found = self._encoded.get(key)
        if found is not None:
            return found
        data = self._received.get(question.picture)
        if data is None:
            raise UserError(
                'This picture is no longer here: it had to make room for newer ones, or the page '
                'was started anew. Drop it again.'
            )
        with notices_heard() as heard:
            image = segment.encode(decode_rgb(data, question.name))
        made = _Encoded(image, tuple(heard))
        self._encoded.put(key, made, _bytes_of(image))
        return made

    def _forget(self, model: str) -> None:
        """Drops what a model encoded; it would keep the model in memory."""
        for kept in (self._encoded, self._banks):
            kept.drop(lambda key: isinstance(key, tuple) and key[0] == model)


def _words(text: str) -> Vocabulary | None:
    """The classes that were typed; None for none.

    On a command line the name of a file stands for the words in it, here it is a word as any other:
    users of the page must not read files of its machine.
    """
    if not text.strip():
        return None
    parsed = parse_string(text)
    if parsed.note:
        notify(parsed.note)
    return Vocabulary(parsed.classes, parsed.rejection)


def _bytes_of(encoded: EncodedImage) -> int:
    """What an encoded image takes in memory."""
    return encoded.image.nbytes + _bytes_in(encoded.encoding)


def _bytes_in(value: Any) -> int:
    """What the tensors in a value take."""
    sizes = [0]

    def count(tensor: Tensor) -> Tensor:
        sizes.append(tensor.nbytes)
        return tensor

    map_tensors(value, count)
    return int(np.sum(sizes))
