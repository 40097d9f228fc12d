"""Optional libraries: what is said where one is missing."""

from __future__ import annotations

from ovseg.errors import UserError


def missing_library(sentence: str, extra: str) -> UserError:
    """The error of a library that is imported where it is needed.

    Args:
        sentence: up to the library's name, such as ``Tables are made by pandas``.
        extra: of ovseg, in ``setup.py``.

    Example:
        >>> str(missing_library('Tables are made by pandas', 'pandas'))
        'Tables are made by pandas, which is missing: pip install "ovseg[pandas]".'
    """
    return UserError(f'{sentence}, which is missing: pip install "ovseg[{extra}]".')
