"""Files of ready rows: text embeddings of classes, whose classes they are, and who made them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ovseg.errors import UserError, nearest, notify
from ovseg.files import written_whole
from ovseg.vocabulary.parsing import name_key
from ovseg.vocabulary.vocabulary import Vocabulary
from ovseg.weight_files import check_finite, read_tensors
from ovseg.weight_files.places import find_weights
from ovseg.weight_files.safetensors_files import read_safetensors_metadata

_ROWS, _CLASSES, _SPACE = 'text_embeddings', 'classes', 'text_space'
_SUFFIX = '.safetensors'
_SHOWN = 3


@dataclass(frozen=True, eq=False)
class ReadyRows:
    """One row a class, in the place of what a text tower would make.

    Attributes:
        weight: (C, D) float32, used as they are (published ones have unit length).
        names: of the C classes; None where the file does not say.
        space: fingerprint of the text model whose space they are in; ``''`` where that is not said.
        origin: the file, for messages.
    """

    weight: Tensor
    names: tuple[str, ...] | None = None
    space: str = ''
    origin: str = 'the rows'


def read_row_file(path: str | Path) -> ReadyRows:
    """The rows of a file.

    Published ``*_clip_text.pth`` files hold one tensor and no names.

    Args:
        path: of :func:`write_row_file`, or a file with one floating tensor.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: the file holds anything else, or names that do not fit its rows.
    """
    content = read_tensors(path)
    facts: Mapping[str, Any] = {}
    if isinstance(content, Mapping) and _ROWS in content:
        facts, content = content, content[_ROWS]
        file = find_weights(path)
        if file.suffix == _SUFFIX:
            facts = read_safetensors_metadata(file)
    if not isinstance(content, Tensor) or content.ndim != 2 or not content.is_floating_point():
        raise UserError(
            f'{path} does not hold one floating tensor [classes, dim], alone or as {_ROWS!r}; give '
            'a *_clip_text.pth file'
        )
    check_finite({_ROWS: content}, path)
    names = _names(facts.get(_CLASSES), len(content), path)
    return ReadyRows(content.float(), names, str(facts.get(_SPACE, '')), str(path))


def _names(said: Any, count: int, path: str | Path) -> tuple[str, ...] | None:
    if said is None:
        return None
    try:
        names = tuple(json.loads(said) if isinstance(said, str) else said)
    except (TypeError, ValueError):
        names = ()
    are_names = all(isinstance(name, str) for name in names)
    if not are_names or len(names) != count or len({name_key(name) for name in names}) != count:
        raise UserError(
            f'{path} has {count} rows, and its {_CLASSES!r} are not so many different names: make '
            'the file again'
        )
    return names


def worded_classes(vocabulary: Vocabulary) -> list[int]:
    """Labels of the classes that have words, and so a row.

    Args:
        vocabulary: the classes.
    """
    return [
        label for label, item in enumerate(vocabulary.classes) if item.prompts or item.descriptions
    ]


def rows_of_classes(rows: ReadyRows, vocabulary: Vocabulary, space: str = '') -> Tensor:
    """The rows of a vocabulary's classes with words, in their order, (C', D).

    Rows with names are found by these, in any case and order; others may be left over. Rows
    without are taken as they lie, which is said.

    Args:
        rows: of the classes.
        vocabulary: the classes.
        space: fingerprint of the text model whose features the rows are to meet; ``''`` for any.

    Raises:
        UserError: rows of other classes or of another text model.

    Warns:
        Notice: the rows have no names.
    """
    if space and rows.space and space != rows.space:
        raise UserError(
            f'{rows.origin} holds text embeddings of the text model {rows.space!r}, and the model '
            f'in use has {space!r}: their cosines would mean nothing; make the file with this model'
        )
    names = [vocabulary.names[label] for label in worded_classes(vocabulary)]
    if rows.names is None:
        if len(names) == len(rows.weight):  # else it is refused, as rows of any origin are
            notify(
                f'{rows.origin} does not say whose text embeddings it holds: its {len(names)} rows '
                f'are taken for {_some(names)} in this order; check that it was made from these '
                'classes'
            )
        return rows.weight
    place = {name_key(name): number for number, name in enumerate(rows.names)}
    missing = [name for name in names if name_key(name) not in place]
    if missing:
        raise UserError(
            f'{rows.origin} holds text embeddings of {len(rows.names)} classes '
            f'({_some(rows.names)}), and {len(missing)} of the vocabulary are none of them, such '
            f'as {missing[0]!r}; give the file that was made from these classes.'
            + nearest(missing[0], rows.names)
        )
    return rows.weight[[place[name_key(name)] for name in names]]


def _some(names: Sequence[str]) -> str:
    return ', '.join(names[:_SHOWN]) + (', ...' if len(names) > _SHOWN else '')


def write_row_file(rows: ReadyRows, path: str | Path) -> Path:
    """Writes rows with the names of their classes, whole or not at all.

    Args:
        rows: with names.
        path: a safetensors file where it ends in ``.safetensors``, else one of ``torch.save``.

    Raises:
        UserError: rows without names, or the file cannot be written.
    """
    path = Path(os.path.expanduser(path))
    if rows.names is None:
        raise UserError(f'{path} is to say whose rows it holds: give their names')
    _names(rows.names, len(rows.weight), path)
    weight = rows.weight.detach().cpu().clone().contiguous()
    with written_whole(path) as temporary:
        if path.suffix == _SUFFIX:
            from safetensors.torch import save_file

            said = {_CLASSES: json.dumps(rows.names, ensure_ascii=False), _SPACE: rows.space}
            save_file({_ROWS: weight}, temporary, metadata=said)
        else:
            content = {_ROWS: weight, _CLASSES: list(rows.names), _SPACE: rows.space}
            with temporary.open('wb') as file:
                torch.save(content, file)
    return path
