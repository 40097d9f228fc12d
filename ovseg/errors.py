"""Errors and notices that are meant for the person at the keyboard, and how scripts report them."""

from __future__ import annotations

import difflib
import sys
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

from ovseg.consoles import lost_output, make_patient

_PACKAGE = str(Path(__file__).resolve().parent)
# Joiners inside words and emoji; of all letters that show nothing these alone change what is seen.
_JOINERS = '\u200c\u200d'
_UNPRINTABLE = ('Cc', 'Cf', 'Cs', 'Zl', 'Zp')
# Where the notices of this thread go instead of becoming warnings.
_HEARD: ContextVar[list[str] | None] = ContextVar('heard', default=None)

EXIT_OK = 0
EXIT_SOME_FAILED = 1
EXIT_NOTHING_DONE = 2


class UserError(ValueError):
    """Bad input: the message is one sentence that says what, where and what to do."""


class UnknownClass(UserError, KeyError):
    """A name that no class has."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError's own would quote the sentence


class Notice(UserWarning):
    """A result that may not be what was wanted: one sentence on why, and on what to do."""


def notify(message: str) -> None:
    """Warns whoever called ovseg, at the line of the call.

    Python shows one text from one line once (see ``warnings``); scripts of ovseg print it as a line
    of its own (:func:`notices_as_lines`).

    Args:
        message: one sentence, shown as :func:`printable` makes it.
    """
    heard = _HEARD.get()
    if heard is not None:
        heard.append(printable(message))
        return
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(printable(message), Notice, stacklevel=level)


@contextmanager
def notices_heard() -> Iterator[list[str]]:
    """A list that receives the notices of this thread; none of them becomes a warning.

    Python's own way to collect warnings changes what all threads do.

    Example:
        >>> with notices_heard() as heard:
        ...     notify('The picture is dark.')
        >>> heard
        ['The picture is dark.']
    """
    heard: list[str] = []
    token = _HEARD.set(heard)
    try:
        yield heard
    finally:
        _HEARD.reset(token)


def printable(text: object) -> str:
    r"""A text that a terminal may be given: what would steer it is escaped, line ends stay.

    Args:
        text: words, the name of a file, a message that quotes them.

    Example:
        >>> print(printable('sky\x1b[2J'))
        sky\x1b[2J
    """
    return ''.join(
        letter
        if letter == '\n' or letter in _JOINERS or unicodedata.category(letter) not in _UNPRINTABLE
        else letter.encode('unicode_escape').decode('ascii')
        for letter in str(text)
    )


def printable_line(text: object) -> str:
    r"""As :func:`printable`, with line ends escaped, too: a name of a file, a cell of a table.

    Example:
        >>> print(printable_line('photos/é\n\x1b.png'))
        photos/é\n\x1b.png
    """
    return printable(text).replace('\n', '\\n')


def nearest(name: str, known: Iterable[str]) -> str:
    """A suffix for error messages that suggests the nearest known name.

    Args:
        name: what the user wrote.
        known: the names that would have been accepted.

    Returns:
        ``" Did you mean 'x'?"`` with a leading blank, or an empty string if nothing is near.

    Example:
        >>> nearest('maskclp', ['maskclip', 'trident'])
        " Did you mean 'maskclip'?"
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ''


def run_cli(main: Callable[[], int | None]) -> int:
    """Run a script's main function and turn bad input into one line and exit code 2.

    From here on the console may lack letters, and its reader may go away: see
    :func:`ovseg.consoles.make_patient`.

    Args:
        main: does the work and returns an exit code (None counts as 0).

    Returns:
        The exit code: 0 all done, 1 some inputs of many failed, 2 nothing could be done.
    """
    make_patient()
    code = _run(main)
    lost = lost_output()
    if lost is None:
        return code
    print(f'error: the standard output could not be written: {lost.strerror}', file=sys.stderr)
    return code or EXIT_SOME_FAILED


def _run(main: Callable[[], int | None]) -> int:
    try:
        with notices_as_lines():
            return main() or EXIT_OK
    except (UserError, FileNotFoundError) as error:
        print(f'error: {printable(error)}', file=sys.stderr)
        return EXIT_NOTHING_DONE
    except KeyboardInterrupt:
        print('error: interrupted', file=sys.stderr)
        return 130


@contextmanager
def notices_as_lines() -> Iterator[None]:
    """Prints each notice as one line, ``warning: ...``, once; other warnings look as ever."""
    said: set[str] = set()
    with warnings.catch_warnings():
        otherwise = warnings.showwarning

        def show(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
            if not issubclass(category, Notice):
                otherwise(message, category, *place, **more)
            elif str(message) not in said:
                said.add(str(message))
                print_beside_progress(f'warning: {message}', sys.stderr)

        warnings.showwarning = show
        yield


def print_beside_progress(line: str, stream: IO[str]) -> None:
    """Prints a line at once, above a progress bar if one is drawn.

    Args:
        line: without its end.
        stream: where to.
    """
    progress = sys.modules.get('tqdm')  # without it there is no bar
    if progress is None:
        print(line, file=stream)
    else:
        progress.tqdm.write(line, file=stream)
    stream.flush()
