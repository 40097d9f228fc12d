"""Values of ``--cfg-options``, as they were typed on a command line.

mmengine's forms are read as mmengine reads them (numbers, True, None, ``1,2``, ``[(1,2),[a,b]]``),
but blanks, quotes, braces and brackets inside of words stay where they are.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Callable, Iterator
from typing import Any, Literal

from ovseg.errors import UserError

# What a setting takes: text and nothing else, text among other things, or who knows.
Wanted = Literal['text', 'text or other', 'text or list', 'any']

_CLOSING = {'(': ')', '[': ']', '{': '}'}
_QUOTES = '\'"'
_CALL = re.compile(r'(?:dict|list|tuple)\(.*\)', re.DOTALL)


def read_value(text: str, wanted: Wanted = 'any') -> Any:
    """The value of a word of the command line.

    In quotes a text is taken as it is; a list or tuple in quotes is read, as in mmengine. Brackets
    make a list or tuple of what stands between the commas, braces a dict. Commas alone make a list,
    too, unless the setting takes text: then only a comma without a blank behind it does, and where
    it takes nothing but text, none. A comma of a template (one part has ``{}``, another has none)
    never does.

    Args:
        text: what stands behind the ``=``.
        wanted: what the setting takes.

    Raises:
        UserError: brackets that are not closed, or braces that hold no dict.

    Example:
        >>> read_value('wooden floor'), read_value('1,2'), read_value("[('a b', 1), None]")
        ('wooden floor', [1, 2], [('a b', 1), None])
        >>> read_value('sky, seen from far', 'text or other')
        'sky, seen from far'
    """
    inner = _unquoted(text)
    if inner is not None:
        return _read(inner.strip()) if _is_enclosed(inner.strip(), '([') else inner
    if wanted == 'text' or (wanted != 'any' and text.strip() == '{}'):
        return text
    parts = list(_parts(text))
    if len(parts) == 1 or _is_enclosed(text.strip(), '([{'):
        return _read(text)
    with_place = sum('{}' in part for part in parts)
    is_text = wanted == 'text or other' and any(part.startswith(' ') for part in parts[1:])
    if is_text or 0 < with_place < len(parts):
        return text
    return [_read(part.strip()) for part in _without_last_comma(parts)]


def _read(text: str) -> Any:
    """One value that no comma divides; bare words keep their blanks."""
    inner = _unquoted(text)
    if inner is not None:
        return read_value(text)
    stripped = text.strip()
    if stripped[:1] in ('(', '[') and stripped:
        if _is_enclosed(stripped, '(['):
            parts = _without_last_comma(list(_parts(stripped[1:-1])))
            values = [_read(part.strip()) for part in parts]
            return tuple(values) if stripped[0] == '(' else values
        if not _is_balanced(stripped):
            raise UserError(
                f'--cfg-options cannot read {text!r}: a bracket is not closed; close it, or write '
                'a text in quotes of its own, such as \'"(a text"\''
            )
    if _is_enclosed(stripped, '{'):
        return _braces(stripped)
    if _CALL.fullmatch(stripped):
        raise UserError(
            f'--cfg-options cannot read {text!r}: write a Python literal, such as '
            "\"{'type': 'KeySmoothing', 'threshold': 1.0}\""
        )
    return _scalar(text)


def _scalar(text: str) -> Any:
    """A number, True, False or None, else the text itself."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    plain = text.strip()
    if plain.lower() in ('true', 'false'):
        return plain.lower() == 'true'
    return None if plain == 'None' else text


def _braces(text: str) -> Any:
    """A dict as Python writes it, or a text such as ``{word}``."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        if ':' not in text:
            return text
        raise UserError(
            f'--cfg-options cannot read {text!r}: write a Python literal, such as '
            "\"[{'type': 'KeySmoothing', 'threshold': 1.0}]\""
        ) from error


def _unquoted(text: str) -> str | None:
    """What stands in the quotes around a text, None if it is not in quotes."""
    stripped = text.strip()
    if len(stripped) < 2 or stripped[0] not in _QUOTES or stripped[-1] != stripped[0]:
        return None
    inner = stripped[1:-1]
    return None if stripped[0] in inner else inner


def _without_last_comma(parts: list[str]) -> list[str]:
    return parts if parts[-1].strip() else parts[:-1]


def _tokens(text: str) -> Iterator[tuple[int, str, int]]:
    """Position, character and depth of brackets, of all that does not stand in quotes.

    A quote opens where a value begins, and if it is closed where a value ends; else it is an
    apostrophe.
    """
    depth, position, begins = 0, 0, True
    while position < len(text):
        letter = text[position]
        if begins and letter in _QUOTES:
            closed = re.search(re.escape(letter) + r'\s*(?=[,:)\]}]|$)', text[position + 1 :])
            if closed:
                position += closed.start() + 2
                begins = False
                continue
        if letter in ')]}':
            depth -= 1
        yield position, letter, depth
        if letter in '([{':
            depth += 1
        begins = letter in ',:([{' or (begins and letter == ' ')
        position += 1


def _parts(text: str) -> Iterator[str]:
    """The text between its commas, those in brackets and in quotes aside."""
    start = 0
    if _is_balanced(text):
        for position, letter, depth in _tokens(text):
            if letter == ',' and depth == 0:
                yield text[start:position]
                start = position + 1
    yield text[start:]


def _is_balanced(text: str) -> bool:
    waiting: list[str] = []
    for _, letter, _ in _tokens(text):
        if letter in _CLOSING:
            waiting.append(_CLOSING[letter])
        elif letter in ')]}' and (not waiting or waiting.pop() != letter):
            return False
    return not waiting


def _is_enclosed(text: str, kinds: str) -> bool:
    """Whether a text begins with one of these brackets and ends with the one that closes it."""
    if len(text) < 2 or text[0] not in kinds or not _is_balanced(text):
        return False
    return next(p for p, letter, d in _tokens(text) if letter in ')]}' and d == 0) == len(text) - 1


class Options(dict[str, Any]):
    """Settings by key; what was typed for each is kept, to be read anew by what a key takes.

    Attributes:
        typed: the words as they were typed, by key.
    """

    def __init__(self) -> None:
        super().__init__()
        self.typed: dict[str, str] = {}

    def add(self, key: str, text: str) -> None:
        """Adds one.

        Args:
            key: such as ``model.test_cfg.mode``.
            text: what was typed behind the ``=``.
        """
        self[key] = read_value(text)
        self.typed[key] = text

    def read_as(self, wanted: Callable[[str], Wanted]) -> None:
        """Reads all words again.

        Args:
            wanted: says what the setting of a key takes.
        """
        for key, text in self.typed.items():
            self[key] = read_value(text, wanted(key))


class OptionsAction(argparse.Action):
    """``--cfg-options key=value ...`` into :class:`Options`; see :func:`read_value`.

    A word without ``=`` is a usage error. The option may be repeated.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Reads the words."""
        options = Options()
        before = getattr(namespace, self.dest, None)
        if isinstance(before, Options):
            options.update(before)
            options.typed.update(before.typed)
        for word in values:
            key, equals, text = word.partition('=')
            if not equals:
                parser.error(f"--cfg-options takes KEY=VALUE, got '{word}'")
            if not key or not all(key.split('.')):
                parser.error(f"--cfg-options takes KEY=VALUE, got '{word}', which has no whole key")
            options.add(key, text)
        setattr(namespace, self.dest, options)
