"""Settings of a config: their names, and what kind of value each takes."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, fields
from typing import Any, ClassVar, Protocol, TypeVar

from ovseg.errors import UserError, nearest
from ovseg.option_values import Wanted


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


_Settings = TypeVar('_Settings', bound=_Dataclass)

_NOTHING = {'None', 'NoneType'}
_NUMBERS = {'int', 'float'}
_TEXT = {'str', 'Path', 'PathLike'}
_ROWS = {'list', 'List', 'tuple', 'Tuple', 'Sequence', 'Collection', 'Iterable', 'Size'}
_SCALARS = {'bool', *_NOTHING, *_NUMBERS, *_TEXT}
# Part of an annotation, but no kind of value.
_GRAMMAR = {'Optional', 'Union', 'typing', 'pathlib', 'os', 'class'}


def read_settings(kind: type[_Settings], config: Mapping[str, Any] | None, where: str) -> _Settings:
    """Returns a dataclass filled with the fields that a config names.

    Args:
        kind: the dataclass.
        config: fields by name, or None for the defaults.
        where: the config's key, for messages.

    Raises:
        UserError: a name that is no field, or a value of another kind than its field takes; see
            also the class's own checks.
    """
    known = {field.name: field.type for field in fields(kind)}
    for name, value in (config or {}).items():
        if name not in known:
            raise UserError(
                f"{where} has no setting '{name}' (known: {', '.join(known)})."
                f'{nearest(name, known)}'
            )
        check_value(value, known[name], f'{where}.{name}')
    return kind(**(config or {}))


def check_value(value: Any, annotation: Any, where: str) -> None:
    """Stops at a value of another kind than an annotation says.

    Only what the annotation says plainly is checked: numbers, text, True and False, None, and
    sequences of these. Numbers stand for other numbers, 0 and 1 for False and True.

    Args:
        value: of a config.
        annotation: of a parameter or field, as a text or an object.
        where: the config's key.

    Raises:
        UserError: the value does not fit.

    Example:
        >>> check_value(2, 'float | None', 'model.sigma')
        >>> check_value('abc', 'float | None', 'model.sigma')
        Traceback (most recent call last):
        ovseg.errors.UserError: model.sigma is 'abc', but takes float | None; give such a value
    """
    text = annotation_text(annotation)
    words = set(re.findall(r'\w+', text)) - _GRAMMAR
    if not words or not words <= _SCALARS | _ROWS:
        return
    if not _fits(value, text, words):
        raise UserError(f'{where} is {value!r}, but takes {text}; give such a value')


def _fits(value: Any, text: str, words: set[str]) -> bool:
    outer = _outer(text)
    if not isinstance(value, (list, tuple)):
        # One number often stands for a pair of them: a side for a square.
        stands_for_pair = outer & {'tuple', 'Tuple'} and value is not None
        return _is_one_of(value, outer) or bool(
            stands_for_pair and _is_one_of(value, words & _NUMBERS)
        )
    if not outer & _ROWS:
        return False
    inner = words - _ROWS
    return not inner or all(
        isinstance(item, (list, tuple)) or _is_one_of(item, inner) for item in value
    )


def _outer(text: str) -> set[str]:
    """The words of an annotation outside of brackets; ``Optional`` and ``Union`` have none."""
    text = re.sub(r'\bOptional\[', 'None | [', text)
    while re.search(r'\bUnion\[|\| \[', text):
        text = re.sub(r'\bUnion\[|\| \[', '| ', text)
    bare = re.sub(r'\[[^\[\]]*\]', '', text)
    while bare != text:
        text, bare = bare, re.sub(r'\[[^\[\]]*\]', '', bare)
    return set(re.findall(r'\w+', bare)) - _GRAMMAR


def _is_one_of(value: Any, words: set[str]) -> bool:
    if value is None:
        return bool(words & _NOTHING)
    if isinstance(value, bool):
        return bool(words & {'bool', *_NUMBERS})
    if isinstance(value, (int, float)):
        whole = float(value).is_integer()
        return (
            'float' in words or ('int' in words and whole) or ('bool' in words and value in (0, 1))
        )
    if isinstance(value, (str, os.PathLike)):
        return bool(words & _TEXT)
    return True  # of a class of its own: its reader's business


def annotation_text(annotation: Any) -> str:
    """An annotation as it is written, empty for none.

    Args:
        annotation: of a parameter or field.

    Example:
        >>> annotation_text(int), annotation_text('int | None'), annotation_text(str | None)
        ('int', 'int | None', 'str | None')
    """
    if annotation is inspect.Parameter.empty:
        return ''
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, type) and not hasattr(annotation, '__origin__'):
        return annotation.__name__
    return str(annotation).replace('typing.', '').replace('collections.abc.', '')


def takes_text(annotation: Any) -> Wanted:
    """What a setting takes: ``'text'``, ``'text or other'``, ``'text or list'``, else ``'any'``.

    Args:
        annotation: of its parameter or field.

    Example:
        >>> takes_text('str | None'), takes_text('str | float'), takes_text('str | Sequence[str]')
        ('text', 'text or other', 'text or list')
    """
    text = annotation_text(annotation)
    words, outer = set(re.findall(r'\w+', text)) - _GRAMMAR, _outer(text)
    if not outer & _TEXT:
        return 'any'
    if words <= _TEXT | _NOTHING:
        return 'text'
    return 'text or other' if words <= _SCALARS else 'text or list'


def parameters_of(kind: Any) -> tuple[dict[str, Any], bool]:
    """The settings of a class or function with their annotations, and whether it takes others, too.

    Those that a class hands on to the classes it extends are among them.

    Args:
        kind: a class or function.
    """
    makers: list[Callable[..., Any]]
    if inspect.isclass(kind):
        makers = [vars(one)['__init__'] for one in kind.__mro__[:-1] if '__init__' in vars(one)]
    else:
        makers = [kind] if callable(kind) else []
    found: dict[str, Any] = {}
    is_open = not makers and not inspect.isclass(kind)
    for maker in makers:
        try:
            parameters = list(inspect.signature(maker).parameters.values())
        except (TypeError, ValueError):  # written in C
            return found, True
        parameters = parameters[1:] if inspect.isclass(kind) else parameters  # without self
        rest = inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL
        for one in parameters:
            if one.kind not in rest:
                found.setdefault(one.name, one.annotation)
        is_open = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)
        if not is_open:
            break  # what it extends is given what it chooses
    return found, is_open
