"""Further words for the classes of a data set: synonyms, hypernyms, near words, a background."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovseg.errors import UserError, nearest
from ovseg.input_files import read_json

FORMAT = 'ovseg-suite-words/1'
# Class of a data set -> the file that comes with ovseg.
_OURS = dict.fromkeys(('ScenesDataset', 'ScenesFolderDataset'), 'scenes.json')
_CLASS_KEYS = ('synonyms', 'hypernym')
_KEYS = ('format', 'source', 'licence', 'classes', 'distractors', 'background')


@dataclass(frozen=True)
class SuiteWords:
    """Words that stand for, above, and beside the classes of a data set.

    Attributes:
        path: of the file.
        source: where the words come from, for the protocol.
        synonyms: by class.
        hypernyms: by class, one word that also means others.
        distractors: words near the classes that are no class.
        background: words for all else.
    """

    path: str
    source: str
    synonyms: Mapping[str, tuple[str, ...]]
    hypernyms: Mapping[str, str]
    distractors: tuple[str, ...]
    background: tuple[str, ...]

    @classmethod
    def read(cls, path: str | Path, classes: Sequence[str]) -> SuiteWords:
        """The words of a file.

        Args:
            path: JSON with ``format``, ``classes`` (by name: ``synonyms``, ``hypernym``),
                ``distractors`` and ``background``; each but the format may be left out.
            classes: of the data set, in label order.

        Raises:
            FileNotFoundError: there is no such file.
            UserError: it is of another form, or names what is no class.
        """
        content = read_json(path, 'file of suite words', by_hand=True)
        if not isinstance(content, Mapping) or content.get('format') != FORMAT:
            raise UserError(f'{path}: "format" must be {FORMAT!r}')
        for key in content:
            if key not in _KEYS:
                raise UserError(f'{path}: unknown key {key!r}.{nearest(str(key), _KEYS)}')
        of_classes = content.get('classes') or {}
        if not isinstance(of_classes, Mapping):
            raise UserError(f'{path}: "classes" must be a map of class names to their words')
        for name, entry in of_classes.items():
            if name not in classes:
                raise UserError(
                    f'{path}: {name!r} is no class of the data set.{nearest(name, classes)}'
                )
            if not isinstance(entry, Mapping):
                raise UserError(f'{path}: {name!r} must be a map with {" and ".join(_CLASS_KEYS)}')
            for key in entry:
                if key not in _CLASS_KEYS:
                    raise UserError(
                        f'{path}: unknown key {key!r} of {name!r}.{nearest(str(key), _CLASS_KEYS)}'
                    )
        return cls(
            str(path),
            str(content.get('source', Path(path).name)),
            {
                name: _words(entry.get('synonyms'), f'{path}: synonyms of {name!r}')
                for name, entry in of_classes.items()
                if entry.get('synonyms')
            },
            {
                name: _words([entry['hypernym']], f'{path}: hypernym of {name!r}')[0]
                for name, entry in of_classes.items()
                if entry.get('hypernym')
            },
            _words(content.get('distractors'), f'{path}: distractors'),
            _words(content.get('background'), f'{path}: background'),
        )

    @classmethod
    def of_dataset(cls, kind: str, classes: Sequence[str]) -> SuiteWords | None:
        """The words that come with ovseg.

        Args:
            kind: name of the class of the data set.
            classes: its classes.

        Returns:
            None for a data set without.
        """
        name = _OURS.get(kind)
        return None if name is None else cls.read(Path(__file__).parent / name, classes)

    def groups(self) -> dict[str, list[str]]:
        """Classes by hypernym."""
        found: dict[str, list[str]] = {}
        for name, hypernym in self.hypernyms.items():
            found.setdefault(hypernym, []).append(name)
        return found


def _words(value: Any, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    is_list = isinstance(value, (list, tuple))
    if not is_list or not all(isinstance(word, str) and word.strip() for word in value):
        raise UserError(f'{where} must be a list of words, got {value!r}')
    return tuple(word.strip() for word in value)
