"""Errors that are meant for the person at the keyboard, and how scripts report them."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable

from ovseg.consoles import lost_output, make_patient

EXIT_OK = 0
EXIT_SOME_FAILED = 1
EXIT_NOTHING_DONE = 2


class UserError(ValueError):
    """Bad input: the message is one sentence that says what, where and what to do."""


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
        return main() or EXIT_OK
    except (UserError, FileNotFoundError) as error:
        print(f'error: {error}', file=sys.stderr)
        return EXIT_NOTHING_DONE
    except KeyboardInterrupt:
        print('error: interrupted', file=sys.stderr)
        return 130
