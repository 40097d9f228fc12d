"""Words given explicitly: JSON files, dicts, lists, METAINFO of data sets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ovseg.errors import UserError, nearest
from ovseg.input_files import unique_keys
from ovseg.vocabulary.parsing import (
    ParsedWords,
    VocabularyClass,
    as_words,
    check_words,
    parse_lines,
    parse_string,
)
from ovseg.vocabulary.rejection import Rejection, RejectionKind
from ovseg.vocabulary.word_lists import check_number, numbers_left_out, read_text

FILE_SUFFIXES = ('.txt', '.json')

_RECORD_KEYS = ('name', 'prompts', 'description', 'color')
_DOCUMENT_KEYS = ('classes', 'palette', 'rejection', 'background', 'threshold')
# What else the metainfo of data sets of ours, mmseg and mmdet carries; none of it concerns words.
_METAINFO_KEYS = (
    *('ignore_index', 'label_map', 'reduce_zero_label', 'dataset_type', 'task_name'),
    *('img_suffix', 'seg_map_suffix'),
    *('thing_classes', 'stuff_classes', 'thing_palette', 'stuff_palette'),
)


def read_file(path: Path) -> ParsedWords:
    """The words of a ``.txt`` file (one class a line) or a ``.json`` file.

    A ``.txt`` file of one line may separate its classes as a string does.

    Raises:
        FileNotFoundError: no such file.
        UserError: another suffix, not UTF-8, not JSON, or a bad entry (file and line named).
    """
    if path.suffix.lower() not in FILE_SUFFIXES:
        raise UserError(f'vocabulary file {path} must end in .txt or .json')
    try:
        text = read_text(path, 'vocabulary file')
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'{error} For plain words write them without .txt or .json.'
        ) from error
    if path.suffix.lower() == '.txt':
        return parse_lines(text, path)
    try:
        document = json.loads(text, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise UserError(f'vocabulary file {path} is not valid JSON: {error}') from error
    try:
        return parse_document(document)
    except UserError as error:
        raise UserError(f'{path}: {error}') from error


def parse_document(document: Any) -> ParsedWords:
    """Words given explicitly: nothing in a name or a prompt separates anything.

    Args:
        document: ``{'classes': [...], ...}`` whose classes are names, lists of prompts or
            records with name, prompts, description and color, beside palette, rejection,
            background and threshold; a data set's METAINFO is of this form; or the short map
            ``{name: [prompts]}``; or a list of classes.

    Raises:
        UserError: a bad entry, an unknown key.
    """
    if isinstance(document, Mapping):
        if 'classes' not in document:
            document, note = _by_number(document)
            items = [{'name': name, 'prompts': words} for name, words in document.items()]
            return ParsedWords(_explicit_classes(items), note=note)
        known = (*_DOCUMENT_KEYS, *_METAINFO_KEYS)
        for key in document:
            if key not in known:
                raise UserError(
                    f'unknown vocabulary setting {key!r}, use {", ".join(_DOCUMENT_KEYS)}.'
                    + nearest(str(key), _DOCUMENT_KEYS)
                )
        given = document['classes']
        if isinstance(given, str):
            words = parse_string(given)
        elif isinstance(given, Mapping):
            words = parse_document(dict(given))
        else:
            words = ParsedWords(_explicit_classes(given))
        classes = _with_palette(words.classes, document.get('palette'))
        return ParsedWords(classes, _stated_rejection(document), words.note)
    return ParsedWords(_explicit_classes(document))


def _explicit_classes(entries: Any) -> tuple[VocabularyClass, ...]:
    if isinstance(entries, (str, bytes)) or not isinstance(entries, Sequence):
        raise UserError(f'classes must be a list, got {entries!r}')
    if not entries:
        raise UserError('the vocabulary is empty, give at least one class')
    check_number(len(entries))
    return tuple(_explicit_class(entry, number) for number, entry in enumerate(entries, 1))


def _by_number(document: Mapping[Any, Any]) -> tuple[Mapping[Any, Any], str]:
    """A map of labels to names, ``{0: 'sky', 1: 'sea'}``, as one of names, and what to say."""
    numbered = all(isinstance(key, (int, str)) and str(key).isdecimal() for key in document)
    if not document or not numbered or not all(isinstance(v, str) for v in document.values()):
        return document, ''
    keys = sorted(document, key=int)
    names = [document[key] for key in keys]
    if len(set(names)) < len(names):
        raise UserError(f'two numbers of the map have one name: {", ".join(names[:8])}')
    return {name: [name] for name in names}, numbers_left_out(keys[0], keys[-1])


def _explicit_class(entry: Any, number: int) -> VocabularyClass:
    where = f'class {number}'
    if isinstance(entry, VocabularyClass):
        return entry
    if isinstance(entry, Mapping):
        return _record(entry, where)
    words = as_words(entry, where)
    if not words:
        raise UserError(f'{where} has no words, give at least one')
    for word in words:
        check_words(word, where)
    return VocabularyClass(words[0], words)


def _record(record: Mapping[str, Any], where: str) -> VocabularyClass:
    for key in record:
        if key not in _RECORD_KEYS:
            raise UserError(
                f'{where} has an unknown key {key!r}, use {", ".join(_RECORD_KEYS)}.'
                + nearest(str(key), _RECORD_KEYS)
            )
    check_words(record.get('name'), f'name of {where}', name=True)
    where = f'{where}, {record["name"]!r},'
    descriptions = as_words(record.get('description') or (), f'description of {where}')
    prompts = record.get('prompts')
    if prompts is None:
        prompts = () if descriptions else (record['name'],)
    prompts = as_words(prompts, f'prompts of {where}')
    if not prompts and not descriptions:
        raise UserError(f'{where} has no words, give prompts or leave them out to use its name')
    return VocabularyClass(record['name'], prompts, record.get('color'), descriptions)


def _with_palette(
    classes: tuple[VocabularyClass, ...], palette: Any
) -> tuple[VocabularyClass, ...]:
    if palette is None:
        return classes
    palette = palette.tolist() if hasattr(palette, 'tolist') else palette
    if not isinstance(palette, Sequence) or len(palette) != len(classes):
        size = len(palette) if isinstance(palette, Sequence) else palette
        raise UserError(f'palette must hold one colour a class, got {size} for {len(classes)}')
    return tuple(
        VocabularyClass(item.name, item.prompts, item.color or color, item.descriptions)
        for item, color in zip(classes, palette, strict=True)
    )


def _stated_rejection(document: Mapping[str, Any]) -> Rejection | None:
    shorthand = 'background' in document or 'threshold' in document
    if document.get('rejection') is not None:
        if shorthand:
            raise UserError("give either 'rejection' or 'background' and 'threshold', not both")
        return Rejection.build(document['rejection'])
    if not shorthand:
        return None
    words = as_words(document.get('background') or (), 'background words')
    threshold = document.get('threshold')
    kind: RejectionKind = 'background' if words else 'threshold'
    return Rejection(kind, 0.0 if threshold is None else threshold, words)
