"""What the page shows after a click or a word: the values of its components."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ovseg.app.corrections import Corrections
from ovseg.app.desk import Desk, Question
from ovseg.app.sentences import notes_html, or_sentence, why_html
from ovseg.app.view import file_of, sent_file, view_of, view_without_masks

_ASK_FIRST = 'Drop an image first, or try the drawn scene.'
_LONGEST_NAME = 100


class PageAnswers:
    """Handlers of the page's events, but for the events themselves, whose type is gradio's.

    Four values answer a question: the viewer's, the notes', why a pixel has its label, and the
    question that is shown.

    Args:
        desk: answers.
        scene: (content of a picture's file, words for it), behind a button.
        skip: what leaves a component as it is, ``gradio.skip()``.
    """

    def __init__(self, desk: Desk, scene: tuple[bytes, str], skip: Any) -> None:
        self._desk, self._scene, self._skip = desk, scene, skip

    def upload(self, model: str, picture: str, name: str) -> Question:
        """A picture, remembered at once: words may be asked for before it is encoded."""
        name = Path(name.replace('\\', '/')).name[-_LONGEST_NAME:] or 'picture'
        return Question(picture, name, model, '')

    def scene(self, model: str) -> list[Any]:
        """The drawn scene, and words for it."""
        data, words = self._scene
        return [Question(self._desk.receive(data), 'scene.png', model, ''), words]

    def picture(self, latest: Question, corrections: Corrections, *settings: Any) -> list[Any]:
        """The answer about a new picture; the picture alone where there is none."""
        question = _question(latest, corrections, *settings)
        shown = self._answered(question)
        if shown[3] == question:
            return shown
        seen, error = or_sentence(lambda: self._desk.look(question))
        if seen is None:
            return self._told(error)
        view = {'picture': question.picture, **view_without_masks(seen[0])}
        typed = question.words.strip()
        notes = shown[1] if typed else notes_html('', seen[1], 'Now type what to look for.')
        return [view, notes, '', None]

    def ask(self, latest: Question | None, corrections: Corrections, *settings: Any) -> list[Any]:
        """The answer about the latest picture; settings are model, words, background, threshold."""
        if latest is None:
            return self._told(_ASK_FIRST)
        return self._answered(_question(latest, corrections, *settings))

    def change(self, latest: Question | None, *settings: Any) -> list[Any]:
        """As :meth:`ask`, but silent while there is no picture."""
        return [self._skip] * 4 if latest is None else self.ask(latest, *settings)

    def select(self, shown: Question | None, row: Any, column: Any) -> list[Any]:
        """Why a pixel has its label, notes, and the pixel; row and column are whole numbers."""
        if shown is None:
            return ['', notes_html('Type what to look for first: then a click says why.'), None]
        why, error = or_sentence(lambda: self._desk.why(shown, int(row), int(column)))
        if why is None:
            return [self._skip, notes_html(error), None]
        return [why_html(why), self._skip, (int(row), int(column))]

    def correct(
        self, shown: Question | None, place: tuple[int, int] | None, word: str
    ) -> list[Any]:
        """The answer that knows what the pixel is that was clicked last, and all corrections."""
        if shown is None or place is None:
            return [*self._told('Click a pixel of the answer that is wrong first.'), self._skip]
        if not word.strip():
            return [*self._told('Type what it should be, one of the words.'), self._skip]
        question, error = or_sentence(lambda: self._desk.correct(shown, *place, word))
        return self._corrected(question, error)

    def undo(self, shown: Question | None, corrections: Corrections) -> list[Any]:
        """The answer without the last correction."""
        if not corrections:
            return [*self._told('There is no correction to undo.'), self._skip]
        return self._without(shown, corrections[:-1])

    def remove_all(self, shown: Question | None, corrections: Corrections) -> list[Any]:
        """The answer without corrections."""
        if not corrections:
            return [*self._told('There are no corrections.'), self._skip]
        return self._without(shown, ())

    def bank(self, shown: Question | None) -> list[Any]:
        """The corrections as a file of examples, and notes."""
        if shown is None:
            return [self._skip, notes_html('Nothing was corrected yet, so that there is no bank.')]
        return self._sent(lambda: self._bank_file(shown))

    def _bank_file(self, shown: Question) -> dict[str, str]:
        with TemporaryDirectory() as folder:
            path = Path(folder, 'corrections.safetensors')
            self._desk.bank(shown, path)
            return sent_file(path, 'application/octet-stream')

    def _without(self, shown: Question | None, corrections: Corrections) -> list[Any]:
        if shown is None:  # they are of a picture whose question was not answered
            return [*self._told(''), corrections]
        return self._corrected(replace(shown, corrections=corrections), '')

    def _corrected(self, question: Question | None, error: str) -> list[Any]:
        """The answer and its corrections; those of before where there is none."""
        if question is None:
            return [*self._told(error), self._skip]
        answer = self._answered(question)
        return [*answer, question.corrections if answer[3] == question else self._skip]

    def download(self, shown: Question | None, kind: str, opacity: Any, hidden: Any) -> list[Any]:
        """A file of the masks, without the hidden labels, and notes; opacity is in [0, 1]."""
        if shown is None:
            return [self._skip, notes_html('There are no masks to download yet.')]
        labels = [int(each) for each in hidden]
        solid = min(1.0, max(0.0, float(opacity)))
        return self._sent(lambda: file_of(self._desk.ask(shown).result, kind, solid, labels))

    def _sent(self, make: Callable[[], dict[str, str]]) -> list[Any]:
        """A file for the browser's downloads, and notes."""
        file, error = or_sentence(make)
        if file is None:
            return [self._skip, notes_html(error)]
        # Two downloads of one file are two values.
        return [{**file, 'at': time.monotonic_ns()}, self._skip]

    def _answered(self, question: Question) -> list[Any]:
        start = time.perf_counter()
        answer, error = or_sentence(lambda: self._desk.ask(question))
        if answer is None:
            return self._told(error)
        done = f'Answered in {time.perf_counter() - start:.2f} s by {question.model}.'
        view = {'picture': question.picture, **view_of(answer.result)}
        return [view, notes_html('', answer.notices, done), '', question]

    def _told(self, sentence: str) -> list[Any]:
        """Notes alone change."""
        return [self._skip, notes_html(sentence), self._skip, self._skip]


def _question(
    latest: Question,
    corrections: Corrections,
    model: str,
    words: str,
    background: str,
    threshold: float,
) -> Question:
    return replace(
        latest,
        model=model,
        words=words,
        background=background,
        threshold=threshold,
        corrections=corrections,
    )
