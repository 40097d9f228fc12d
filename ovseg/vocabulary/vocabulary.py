"""The ordered list of classes that an image is asked for, with its rejection rule."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, overload

from ovseg.errors import UserError, nearest, notify
from ovseg.files import written_whole
from ovseg.vocabulary.class_colors import class_colors
from ovseg.vocabulary.documents import FILE_SUFFIXES, parse_document, read_file
from ovseg.vocabulary.palette import BACKGROUND_COLOR, Color
from ovseg.vocabulary.parsing import (
    ParsedWords,
    VocabularyClass,
    check_unique_names,
    folded,
    parse_string,
)
from ovseg.vocabulary.protocols import by_label, protocol_words
from ovseg.vocabulary.rejection import BACKGROUND, Rejection
from ovseg.vocabulary.word_lists import SEMICOLONS, check_number

# What words are written down as, see Vocabulary.parse and build_vocabulary.
VocabularySource: TypeAlias = 'Vocabulary | Mapping[str, Any] | Sequence[Any] | str | Path'

_PROTOCOL_KEYS = ('dataset', 'protocol', 'rejection', 'in_label_order')


class Vocabulary:
    """Classes in label order; names and colours of every output come from here.

    A rejection rule that needs a background which the list does not have puts a class
    ``background`` at index 0: with the rule's words as prompts, or with none when only the
    threshold leads there.

    Args:
        classes: the classes as asked for, without a background of the rule's making.
        rejection: the rule; none by default.

    Attributes:
        classes: all classes, index = label.
        rejection: the rule.
        has_own_rule: whether a rule was stated, be it that nothing is rejected.

    Raises:
        UserError: no classes, two classes of one name, a rule that does not fit.

    Example:
        >>> vocabulary = Vocabulary.parse('cat, kitten; sofa')
        >>> vocabulary.names, vocabulary.classes[0].prompts
        (('cat', 'sofa'), ('cat', 'kitten'))
        >>> vocabulary.with_rejection(Rejection('threshold', 0.4)).names
        ('background', 'cat', 'sofa')
    """

    def __init__(
        self, classes: Sequence[VocabularyClass], rejection: Rejection | None = None
    ) -> None:
        self._given = tuple(classes)
        self.has_own_rule = rejection is not None
        self.rejection = rejection or Rejection()
        if not self._given:
            raise UserError('the vocabulary is empty, give at least one class')
        check_number(sum(len(item.prompts) + len(item.descriptions) for item in self._given))
        self.classes = self._with_background()
        check_unique_names(self.classes)
        self._palette = class_colors(self.classes)

    @classmethod
    def parse(
        cls, source: Any, rejection: Rejection | Mapping[str, Any] | str | None = None
    ) -> Vocabulary:
        """The vocabulary that ``source`` writes down.

        Args:
            source: a string ``"cat, kitten; sofa"`` (classes by ``;`` or newline, synonyms by
                ``,``); the path of a ``.txt`` or ``.json`` file; a list of classes, each a
                string (one prompt, commas kept) or a list of prompts; a dict with ``classes``
                such as a data set's METAINFO; a dict ``{name: prompts}``; or a Vocabulary.
            rejection: replaces the source's own rule.

        Raises:
            UserError: a bad entry, which the message names.
            FileNotFoundError: the file is not there.
        """
        rule = Rejection.build(rejection)
        if isinstance(source, Vocabulary):
            return source if rule is None else source.with_rejection(rule)
        words = _read(source)
        if words.note:
            notify(words.note)
        return cls(words.classes, words.rejection if rule is None else rule)

    @classmethod
    def from_protocol(
        cls,
        dataset: str,
        protocol: str,
        rejection: Rejection | Mapping[str, Any] | str | None = None,
        in_label_order: bool = False,
    ) -> Vocabulary:
        """The words that a published method feeds to CLIP for a data set.

        Args:
            dataset: such as ``voc20``; a file of ``ovseg/vocabulary/names``.
            protocol: the method whose words they are, such as ``maskclip``.
            rejection: the rule; by default ``class_zero`` where label 0 is the background.
            in_label_order: classes that the method lists in another order than the data set
                (OVSeg's of ``context59``) are put in that of its labels.

        Raises:
            UserError: an unknown data set or protocol (the known ones are listed).
        """
        names, prompts, has_background = protocol_words(dataset, protocol)
        if in_label_order:
            names, prompts = by_label(dataset, names, prompts)
        classes = [
            VocabularyClass(name, words, BACKGROUND_COLOR if _is_background(index, name) else None)
            for index, (name, words) in enumerate(zip(names, prompts, strict=True))
        ]
        default = Rejection('class_zero') if has_background else Rejection()
        return cls(classes, Rejection.build(rejection) or default)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in label order."""
        return tuple(item.name for item in self.classes)

    @property
    def palette(self) -> list[Color]:
        """One RGB colour (0..255) a class: given, or as its words say, or well apart from these."""
        return list(self._palette)

    @property
    def asked(self) -> tuple[VocabularyClass, ...]:
        """The classes as asked for, without a background of the rule's making."""
        return self._given

    @property
    def background_index(self) -> int | None:
        """Label of rejected pixels, or None without a rejection rule."""
        return 0 if self.rejection.rejects else None

    def with_rejection(self, rejection: Rejection | Mapping[str, Any] | str | None) -> Vocabulary:
        """The same classes under another rejection rule (None for no rule)."""
        return Vocabulary(self._given, Rejection.build(rejection))

    def to_json(self) -> str:
        """The vocabulary as JSON text; ``parse`` of a file with it gives an equal one."""
        document: dict[str, Any] = {'classes': [_to_record(item) for item in self._given]}
        if self.has_own_rule:
            document['rejection'] = self.rejection.to_dict()
        return json.dumps(document, ensure_ascii=False, indent=1) + '\n'

    def format(self) -> str:
        """The classes in the syntax for people, ``"cat, kitten; sofa"``.

        Raises:
            ValueError: a name, prompt or description that this syntax cannot say.
        """
        entries = []
        for item in self._given:
            entry = ', '.join((item.name, *item.prompts[1:]))
            if not _says(entry, [item]):
                raise ValueError(f'class {item.name!r} does not fit "a, b; c", use to_json')
            entries.append(entry)
        text = '; '.join(entries)
        if not _says(text, self._given):
            raise ValueError('the list as a whole does not fit "a, b; c", use to_json')
        return text

    def save(self, path: str | Path) -> None:
        """Write ``to_json`` to ``path``, at once or not at all."""
        with written_whole(path) as temporary:
            temporary.write_text(self.to_json(), encoding='utf-8')

    def __len__(self) -> int:
        return len(self.classes)

    def __iter__(self) -> Iterator[VocabularyClass]:
        return iter(self.classes)

    def __getitem__(self, index: int) -> VocabularyClass:
        return self.classes[index]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return (self._given, self.rejection) == (other._given, other.rejection)

    def __hash__(self) -> int:
        return hash((self._given, self.rejection))

    def __repr__(self) -> str:
        shown = ', '.join(repr(name) for name in self.names[:8])
        more = f', ... {len(self)} in all' if len(self) > 8 else ''
        return f'Vocabulary({shown}{more}; rejection={self.rejection.kind})'

    def _with_background(self) -> tuple[VocabularyClass, ...]:
        rule = self.rejection
        if rule.kind in ('none', 'class_zero'):
            return self._given
        background = {word.casefold() for word in rule.words}
        for entry in self._given:
            if both := background.intersection(word.casefold() for word in entry.prompts):
                raise UserError(
                    f'{min(both)!r} is a word of class {entry.name!r} and of the background, '
                    'which would take its pixels: leave it out of one of them'
                )
        first = self._given[0].name
        if _is_background(0, first):
            if rule.words:
                raise UserError(
                    f'class 0 is already called {first!r}: put the background words '
                    "into it and use rejection kind 'class_zero'"
                )
            return self._given
        return (VocabularyClass(BACKGROUND, rule.words, BACKGROUND_COLOR), *self._given)


@overload
def build_vocabulary(
    cfg: None, rejection: Rejection | Mapping[str, Any] | str | None = None
) -> None: ...


@overload
def build_vocabulary(
    cfg: VocabularySource, rejection: Rejection | Mapping[str, Any] | str | None = None
) -> Vocabulary: ...


def build_vocabulary(
    cfg: VocabularySource | None, rejection: Rejection | Mapping[str, Any] | str | None = None
) -> Vocabulary | None:
    """The vocabulary of a config entry.

    Args:
        cfg: whatever ``Vocabulary.parse`` takes, ``dict(dataset=..., protocol=...)`` for
            published words (with ``rejection`` and ``in_label_order`` if wanted), or None.
        rejection: replaces the entry's own rule.

    Returns:
        The vocabulary, or None for None.
    """
    if cfg is None:
        return None
    if isinstance(cfg, Mapping) and 'protocol' in cfg and 'dataset' in cfg:
        for key in cfg:
            if key not in _PROTOCOL_KEYS:
                raise UserError(
                    f'unknown vocabulary setting {key!r}, use {", ".join(_PROTOCOL_KEYS)}.'
                    + nearest(str(key), _PROTOCOL_KEYS)
                )
        rule = cfg.get('rejection') if rejection is None else rejection
        in_order = bool(cfg.get('in_label_order', False))
        return Vocabulary.from_protocol(cfg['dataset'], cfg['protocol'], rule, in_order)
    return Vocabulary.parse(cfg, rejection)


def _read(source: Any) -> ParsedWords:
    if isinstance(source, Path):
        return read_file(source)
    if isinstance(source, str):
        return read_file(Path(source.strip())) if _names_a_file(source) else parse_string(source)
    if isinstance(source, (Mapping, list, tuple)):
        return parse_document(source)
    raise UserError(
        'a vocabulary must be a string, a file, a list or a dict of classes, '
        f'got {type(source).__name__} {source!r}'
    )


def _says(text: str, classes: Sequence[VocabularyClass]) -> bool:
    """Whether a string stands for these classes, whose colours it cannot say."""
    try:
        read_back = parse_string(text).classes
    except UserError:
        return False
    plain = tuple(VocabularyClass(item.name, item.prompts) for item in classes)
    return read_back == plain and not any(item.descriptions for item in classes)


def _names_a_file(text: str) -> bool:
    """Whether a string is a path: by its suffix, or as a file with any suffix lies there."""
    text = text.strip()
    if set(text) & {*SEMICOLONS, *'\n\r\0'}:
        return False
    if text.lower().endswith(FILE_SUFFIXES):
        return True
    return bool(Path(text).suffix) and os.path.isfile(os.path.expanduser(text))


def _is_background(index: int, name: str) -> bool:
    return index == 0 and folded(name) == BACKGROUND


def _to_record(item: VocabularyClass) -> dict[str, Any]:
    record: dict[str, Any] = {'name': item.name, 'prompts': list(item.prompts)}
    if item.descriptions:
        record['description'] = list(item.descriptions)
    if item.color is not None:
        record['color'] = list(item.color)
    return record
