"""What is said about classes beside their names: descriptions, further words, words for others.

The format of a file, ``ovseg-descriptions/1``::

    {"format": "ovseg-descriptions/1",
     "classes": [{"name": "okapi", "synonyms": ["forest giraffe"], "colour": [120, 80, 40],
                  "descriptions": [{"text": "an okapi with striped legs", "weight": 2},
                                   {"text": "striped legs", "full": false},
                                   "a brown okapi"],
                  "contrast": ["zebra", "grass"]}]}
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ovseg.errors import UserError, nearest, notify
from ovseg.files import written_whole
from ovseg.input_files import read_json
from ovseg.vocabulary.palette import Color
from ovseg.vocabulary.parsing import (
    VocabularyClass,
    as_words,
    check_words,
    checked_color,
    folded,
    name_key,
)
from ovseg.vocabulary.vocabulary import Vocabulary

FORMAT = 'ovseg-descriptions/1'
# In the place of a file's name.
WORDNET = 'wordnet'
_CLASS_KEYS = ('name', 'synonyms', 'descriptions', 'contrast', 'colour')
_TEXT_KEYS = ('text', 'weight', 'full')
# How VCD joins a phrase to a name: what the phrase begins with, and what stands before it.
_JOINED = (
    (('a',), 'which is '),
    (('has', 'often', 'typically', 'may', 'can'), 'which '),
    (('used',), 'which is '),
)
_OTHERWISE = 'which has '
_SHOWN = 4


@dataclass(frozen=True)
class Description:
    """A sentence about a class, or a phrase that makes one with its name.

    Attributes:
        text: encoded as it is, without a template.
        weight: above 0, how much it counts beside the class's other descriptions.
        full: whether it is a sentence; else it is joined to the name (:func:`joined`).
    """

    text: str
    weight: float = 1.0
    full: bool = True


@dataclass(frozen=True)
class ClassDescriptions:
    """What is said about a class.

    Attributes:
        name: of the class.
        descriptions: about it.
        synonyms: further words for it, that go into templates as the name does.
        contrast: what else is to be seen around it, and is not it.
        color: RGB 0..255, or None.
    """

    name: str
    descriptions: tuple[Description, ...] = ()
    synonyms: tuple[str, ...] = ()
    contrast: tuple[str, ...] = ()
    color: Color | None = None

    def sentences(self) -> list[tuple[str, float]]:
        """Every description as a sentence, with its weight; equal ones are one."""
        found: dict[str, tuple[str, float]] = {}
        for each in self.descriptions:
            text = each.text if each.full else f'{self.name}, {joined(each.text, whole_words=True)}'
            known, weight = found.get(folded(text), (text, 0.0))
            found[folded(text)] = (known, weight + each.weight)
        return list(found.values())


@dataclass(frozen=True)
class Descriptions:
    """Descriptions of classes by name.

    Attributes:
        classes: one entry a class.
        source: what messages call it.

    Raises:
        UserError: two entries of one name.
    """

    classes: tuple[ClassDescriptions, ...]
    source: str = 'the descriptions'
    _by_name: dict[str, ClassDescriptions] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name: dict[str, ClassDescriptions] = {}
        for item in self.classes:
            first = by_name.setdefault(name_key(item.name), item)
            if first is not item:
                raise UserError(
                    f'{self.source}: {first.name!r} and {item.name!r} are one class, join them'
                )
        object.__setattr__(self, '_by_name', by_name)

    def of(self, name: str) -> ClassDescriptions | None:
        """What is said about a class; None if nothing is. Case and ``_`` for a blank do not count.

        Args:
            name: of the class.
        """
        return self._by_name.get(name_key(name))

    def describe(self, vocabulary: Vocabulary) -> Vocabulary:
        """The vocabulary with these descriptions and further words of its classes.

        Args:
            vocabulary: whose classes are described by name; those without an entry stay as they
                are, entries without a class are told.

        Raises:
            UserError: none of its classes is described, or a further word is another class's.
        """
        asked = {name_key(item.name) for item in vocabulary.asked}
        if not asked & self._by_name.keys():
            raise UserError(
                f'{self.source} describes none of the classes {_listed(vocabulary.names)}; it has '
                f'{_listed([item.name for item in self.classes])}'
            )
        spare = [item.name for item in self.classes if name_key(item.name) not in asked]
        if spare:
            notify(
                f'{len(spare)} of the {len(self.classes)} classes of {self.source} are not asked '
                f'for and their descriptions are not used: {_listed(spare)}.'
            )
        owner = {folded(word): item for item in vocabulary.asked for word in item.prompts}
        classes = [self._described(item, owner) for item in vocabulary.asked]
        rule = vocabulary.rejection if vocabulary.has_own_rule else None
        return Vocabulary(classes, rule)

    def weights(self, item: VocabularyClass) -> list[float]:
        """How much each description of a described class counts among them.

        Args:
            item: a class of :meth:`describe`; what it had before counts 1 each.
        """
        said = self.of(item.name)
        known = {} if said is None else {folded(text): w for text, w in said.sentences()}
        return [known.get(folded(text), 1.0) for text in item.descriptions]

    def _described(
        self, item: VocabularyClass, owner: dict[str, VocabularyClass]
    ) -> VocabularyClass:
        """A class with what is said of it; ``owner`` learns its further words."""
        said = self.of(item.name)
        if said is None:
            return item
        words = {folded(word) for word in (*item.prompts, *item.descriptions)}
        further = [word for word in said.synonyms if folded(word) not in words]
        for word in further:
            other = owner.setdefault(folded(word), item)
            if other is not item:
                raise UserError(
                    f'{self.source} makes {word!r} a word of {item.name!r}, and it is one of '
                    f'{other.name!r}: keep it in one'
                )
        words |= {folded(word) for word in further}
        texts = [text for text, _ in said.sentences() if folded(text) not in words]
        return replace(
            item,
            prompts=(*item.prompts, *further),
            descriptions=(*item.descriptions, *texts),
        )

    def to_json(self) -> str:
        """Text in the format of this module, which :func:`read_descriptions` reads back."""
        document = {'format': FORMAT, 'classes': [_record(item) for item in self.classes]}
        return json.dumps(document, ensure_ascii=False, indent=1) + '\n'

    def save(self, path: str | Path) -> None:
        """Write ``to_json`` to ``path``, at once or not at all."""
        with written_whole(path) as temporary:
            temporary.write_text(self.to_json(), encoding='utf-8')


def joined(phrase: str, whole_words: bool = False) -> str:
    """A phrase about a thing as the clause that follows its name.

    Args:
        phrase: such as ``'striped legs'``.
        whole_words: whether what a phrase begins with is a word; by letters, as in the published
            code, ``'apple green rind'`` begins with the article "a".

    Source: Visual classification via description (arXiv 2210.07183), descriptor strings of the
    released code.

    Example:
        >>> joined('striped legs'), joined('a long neck'), joined('often wet')
        ('which has striped legs', 'which is a long neck', 'which often wet')
        >>> joined('apple green rind'), joined('apple green rind', whole_words=True)
        ('which is apple green rind', 'which has apple green rind')
    """
    first = phrase.split(maxsplit=1)[0] if phrase.split() else ''
    for beginnings, before in _JOINED:
        if whole_words:
            # The article has two forms; by letters both begin with an "a".
            known = (*beginnings, 'an') if beginnings == ('a',) else beginnings
            begins = first in known
        else:
            begins = phrase.startswith(beginnings)
        if begins:
            return f'{before}{phrase}'
    return f'{_OTHERWISE}{phrase}'


def descriptions_of(source: str | Path | Descriptions, vocabulary: Vocabulary) -> Descriptions:
    """What a source says about the classes of a vocabulary.

    Args:
        source: a file that :func:`read_descriptions` takes, what it gives, or :data:`WORDNET`:
            synonyms of the classes, see :func:`~ovseg.vocabulary.wordnet.synonyms`.
        vocabulary: what is asked for.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: a file of another kind; no WordNet.
    """
    if isinstance(source, Descriptions):
        return source
    if str(source) == WORDNET:
        from ovseg.vocabulary.wordnet import synonyms  # which needs this file

        return synonyms(vocabulary)
    return read_descriptions(source)


def read_descriptions(path: str | Path) -> Descriptions:
    """Descriptions from a file of any of the formats that exist.

    Args:
        path: ``.json`` of this module's format, or a map of class names to lists of phrases
            (descriptors of VCD) or of sentences (prompts of CuPL); ``.pt`` with such a map (VDT).

    Raises:
        FileNotFoundError: there is no such file.
        UserError: another format, or an entry that is none; the message says which.
    """
    path = Path(path)
    if path.suffix.lower() in ('.pt', '.pth'):
        from ovseg.weight_files import read_tensors  # loads torch

        return of_map(read_tensors(path), str(path))
    document = read_json(path, 'file of descriptions', by_hand=True)
    if isinstance(document, Mapping) and 'format' in document:
        return of_document(document, str(path))
    return of_map(document, str(path))


def of_map(content: Any, source: str, phrases: bool | None = None) -> Descriptions:
    """Descriptions from a map of class names to lists of texts.

    Args:
        content: the map.
        source: what messages call it.
        phrases: whether the texts are phrases that follow a name, as VCD's, and not sentences; None
            to see: they are if fewer than half of them name their class or end in a full stop.

    Raises:
        UserError: no such map.
    """
    if not isinstance(content, Mapping) or not content:
        raise UserError(
            f'{source} must hold {{"format": "{FORMAT}", ...}} or a map of class names to lists of '
            f'texts, got {type(content).__name__}'
        )
    texts: dict[str, tuple[str, ...]] = {}
    for name, given in content.items():
        check_words(name, f'{source}: a class name', name=True)
        texts[name] = as_words(given, f'{source}: descriptions of {name!r}')
        for text in texts[name]:
            check_words(text, f'{source}: a description of {name!r}')
    if phrases is None:
        pairs = [(name, text) for name, given in texts.items() for text in given]
        phrases = sum(_is_sentence(*pair) for pair in pairs) * 2 < len(pairs)
    classes = []
    for key, given in texts.items():
        name = key.replace('_', ' ')
        said = [
            Description(f'{name}, {joined(text)}' if phrases else text, float(count))
            for text, count in Counter(given).items()
        ]
        if not given and phrases:  # as published: an empty descriptor is joined, too
            said = [Description(f'{name}, {joined("")}')]
        classes.append(ClassDescriptions(key, tuple(said)))
    return Descriptions(tuple(classes), source)


def _is_sentence(name: str, text: str) -> bool:
    return text.rstrip().endswith('.') or name_key(name) in name_key(text)


def of_document(document: Mapping[str, Any], source: str) -> Descriptions:
    """Descriptions from the content of a file in this module's format.

    Args:
        document: the content, with its ``format``.
        source: what messages call it.

    Raises:
        UserError: another format, or an entry that is none.
    """
    if document['format'] != FORMAT:
        raise UserError(f'{source} is of format {document["format"]!r}, this reads {FORMAT!r}')
    _check_keys(document, ('format', 'classes'), source)
    given = document.get('classes')
    if not isinstance(given, Sequence) or isinstance(given, str) or not given:
        raise UserError(f'{source}: classes must be a list with at least one class')
    return Descriptions(
        tuple(_of_record(each, f'{source}: class {n}') for n, each in enumerate(given, 1)), source
    )


def _of_record(record: Any, where: str) -> ClassDescriptions:
    if not isinstance(record, Mapping):
        raise UserError(f'{where} must be a map with a name, got {record!r}')
    _check_keys(record, _CLASS_KEYS, where)
    check_words(record.get('name'), f'name of {where}', name=True)
    where = f'{where}, {record["name"]!r}'
    words = {}
    for key in ('synonyms', 'contrast'):
        words[key] = as_words(record.get(key) or (), f'{key} of {where}')
        for word in words[key]:
            check_words(word, f'one of the {key} of {where}')
    given = record.get('descriptions') or ()
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise UserError(f'descriptions of {where} must be a list, got {given!r}')
    said = tuple(_of_text(each, f'description {n} of {where}') for n, each in enumerate(given, 1))
    color = record.get('colour')
    return ClassDescriptions(
        record['name'],
        said,
        words['synonyms'],
        words['contrast'],
        None if color is None else checked_color(color, where),
    )


def _of_text(given: Any, where: str) -> Description:
    if isinstance(given, str):
        given = {'text': given}
    if not isinstance(given, Mapping):
        raise UserError(f'{where} must be a text or a map with one, got {given!r}')
    _check_keys(given, _TEXT_KEYS, where)
    check_words(given.get('text'), where)
    weight, full = given.get('weight', 1.0), given.get('full', True)
    is_number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
    if not is_number or not 0 < weight < float('inf'):
        raise UserError(f'weight of {where} must be a number above 0, got {weight!r}')
    if not isinstance(full, bool):
        raise UserError(f'full of {where} must be true or false, got {full!r}')
    return Description(given['text'], float(weight), full)


def _record(item: ClassDescriptions) -> dict[str, Any]:
    said = [
        {'text': each.text, 'weight': each.weight, 'full': each.full} for each in item.descriptions
    ]
    record: dict[str, Any] = {'name': item.name, 'synonyms': list(item.synonyms)}
    record |= {'descriptions': said, 'contrast': list(item.contrast)}
    if item.color is not None:
        record['colour'] = list(item.color)
    return record


def _check_keys(record: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in record:
        if key not in known:
            raise UserError(
                f'{where} has an unknown key {key!r}, use {", ".join(known)}.'
                + nearest(str(key), known)
            )


def _listed(names: Sequence[str]) -> str:
    more = f', ... {len(names)} in all' if len(names) > _SHOWN else ''
    return ', '.join(map(repr, names[:_SHOWN])) + more
