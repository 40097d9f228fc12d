"""Libraries that only some users need: imported where they are used, asked for in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from ovseg.errors import UserError


def extra_module(name: str, extra: str, purpose: str) -> ModuleType:
    """A module of a library that may be missing.

    Args:
        name: of the module, such as ``'rasterio.features'``.
        extra: that installs it, see :func:`of_extra`.
        purpose: what it is needed for, as a sentence begins: ``'Rasters'``.

    Raises:
        UserError: it is missing; says how to install it.
    """
    with of_extra(extra, f'{purpose} need {name.partition(".")[0]}'):
        return import_module(name)


@contextmanager
def of_extra(extra: str, purpose: str) -> Iterator[None]:
    """For the import of a library that may be missing.

    Args:
        extra: that installs it, of ``setup.py``: ``pip install "ovseg[EXTRA]"``.
        purpose: what needs which library, the begin of a sentence: ``'Tables are made by pandas'``.

    Raises:
        UserError: it is missing; says how to install it.

    Example:
        >>> with of_extra('moon', 'Tides are told by moonlight'):
        ...     import moonlight
        Traceback (most recent call last):
        ovseg.errors.UserError: Tides are told by moonlight, which is missing: pip install \
"ovseg[moon]".
    """
    try:
        yield
    except ImportError as error:
        raise UserError(f'{purpose}, which is missing: pip install "ovseg[{extra}]".') from error
