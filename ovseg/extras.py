"""Libraries that are installed for one purpose alone, by ``pip install "ovseg[NAME]"``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ovseg.errors import UserError


@contextmanager
def of_extra(name: str, purpose: str) -> Iterator[None]:
    """For the import of a library that may be missing.

    Args:
        name: of the extra that installs it.
        purpose: what needs which library, the begin of a sentence: 'Parquet is written by pyarrow'.

    Raises:
        UserError: it is missing; says how to install it.
    """
    try:
        yield
    except ImportError as error:
        raise UserError(f'{purpose}, which is missing: pip install "ovseg[{name}]".') from error
