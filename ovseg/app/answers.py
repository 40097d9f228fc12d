"""What the page shows after a click or a word: the values of its components."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ovseg.app.desk import Desk, Question
from ovseg.app.sentences import notes_html, or_sentence, why_html
from ovseg.app.view import file_of, view_of, view_without_masks

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

    def picture(
        self, latest: Question, model: str, words: str, background: str, threshold: float
    ) -> list[Any]:
        """The answer about a new picture; the picture alone where there is none."""
        question = replace(
            latest, model=model, words=words, background=background, threshold=threshold
        )
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

    def ask(
        self, latest: Question | None, model: str, words: str, background: str, threshold: float
    ) -> list[Any]:
        """The answer about the latest picture."""
        if latest is None:
            return self._told(_ASK_FIRST)
        return self._answered(
            replace(latest, model=model, words=words, background=background, threshold=threshold)
        )

    def change(self, latest: Question | None, *settings: Any) -> list[Any]:
        """As :meth:`ask`, but silent while there is no picture."""
        return [self._skip] * 4 if latest is None else self.ask(latest, *settings)

    def select(self, shown: Question | None, row: Any, column: Any) -> list[Any]:
        """Why a pixel has its label, and notes; row and column are whole numbers."""
        if shown is None:
            return ['', notes_html('Type what to look for first: then a click says why.')]
        why, error = or_sentence(lambda: self._desk.why(shown, int(row), int(column)))
        return [self._skip, notes_html(error)] if why is None else [why_html(why), self._skip]

    def download(self, shown: Question | None, kind: str, opacity: Any, hidden: Any) -> list[Any]:
        """A file of the masks, without the hidden labels, and notes; opacity is in [0, 1]."""
        if shown is None:
            return [self._skip, notes_html('There are no masks to download yet.')]
        labels = [int(each) for each in hidden]
        solid = min(1.0, max(0.0, float(opacity)))
        file, error = or_sentence(
            lambda: file_of(self._desk.ask(shown).result, kind, solid, labels)
        )
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
