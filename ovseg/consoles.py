"""Standard streams: what they cannot show, or nobody reads, ends no run; and keeping quiet."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from contextvars import ContextVar

_QUIET = ContextVar('_QUIET', default=False)

_ERRORS = 'backslashreplace'


class _Stream(io.RawIOBase):
    """A file descriptor; what cannot be written to it any more is dropped.

    Attributes:
        lost: what the system said when something was lost; None: nothing was, or its reader went
            away, who knows.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._ended = False
        self.lost: OSError | None = None

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int | None:
        part = memoryview(data)  # type: ignore[arg-type]  # bytes-like, as io hands it on
        if self._ended:
            return len(part)
        try:
            return os.write(self._descriptor, part)
        except BlockingIOError:
            return None
        except OSError as error:
            self._ended = True
            if not isinstance(error, BrokenPipeError):
                self.lost = error
            return len(part)


def make_patient() -> None:
    r"""Let the process's standard streams take what they cannot show, or what nobody reads.

    Letters that the console's encoding lacks are written as their numbers (``\xe9``), which
    tell two words apart. Where a reader goes away (``| head -1``), the run goes on and its files
    are written. Streams that somebody put in the place of the process's own stay as they are; a
    second call changes nothing.
    """
    if sys.stdout is sys.__stdout__:
        sys.stdout = _patient(sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _patient(sys.stderr)


def shown(text: str) -> str:
    """The text as the standard output will show it, for columns that are to be as wide.

    Args:
        text: any; it stays as it is where :func:`make_patient` was not called.
    """
    stream = sys.stdout
    if not isinstance(stream, io.TextIOWrapper) or _raw_of(stream) is None:
        return text
    return text.encode(stream.encoding, _ERRORS).decode(stream.encoding)


def _patient(stream: object) -> io.TextIOWrapper:
    """The stream over a file descriptor of which losses are known; other streams as they are."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream  # type: ignore[return-value]  # None, where the descriptor is closed
    try:
        stream.flush()
        raw = _Stream(stream.fileno())
    except (OSError, ValueError):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        stream.encoding,
        _ERRORS,
        # Python writes the errors line by line, and all at once where it is told to (-u). There is
        # a buffer here in any case: without a flush, lines of two streams would change places.
        line_buffering=stream.line_buffering or stream.write_through,
    )


def lost_output() -> OSError | None:
    """Why something of the standard output is lost (a full disk, say); None: nothing is."""
    stream = sys.stdout
    if stream is None or stream.closed:
        return None
    stream.flush()
    raw = _raw_of(stream)
    return None if raw is None else raw.lost


def _raw_of(stream: object) -> _Stream | None:
    """The file descriptor behind a stream of :func:`make_patient`."""
    raw = getattr(getattr(stream, 'buffer', None), 'raw', None)
    return raw if isinstance(raw, _Stream) else None


class StandardErrorHandler(logging.Handler):
    """Warnings and errors of a log, for runs whose log nobody sees: one line each on stderr."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        print(f'{record.levelname.lower()}: {record.getMessage()}', file=sys.stderr)


@contextmanager
def quiet(wanted: bool = True, prints: bool = False) -> Iterator[None]:
    """What a block reports is dropped: what it prints to the standard output, and its progress.

    Warnings and errors go beside the standard output, so that these stay.

    Args:
        wanted: False changes nothing.
        prints: True keeps what is printed, where that is what a program asked for.
    """
    if not wanted:
        yield
        return
    before = _QUIET.set(True)
    try:
        with (
            open(os.devnull, 'w', encoding='utf-8') as nowhere,
            nullcontext() if prints else redirect_stdout(nowhere),
        ):
            yield
    finally:
        _QUIET.reset(before)


def is_quiet() -> bool:
    """Whether progress and notes are to be left out."""
    return _QUIET.get()
