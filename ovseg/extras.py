"""Libraries that only some users need: imported where they are used, asked for in one sentence."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from ovseg.errors import UserError


def extra_module(name: str, extra: str, purpose: str) -> ModuleType:
    """A module of a library that belongs to an extra.

    Args:
        name: of the module, such as ``'rasterio.features'``.
        extra: of ovseg, in ``setup.py``.
        purpose: what it is needed for, as a sentence begins: ``'Rasters'``.

    Raises:
        UserError: it is not installed; says how to.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise missing_library(f'{purpose} need {name.partition(".")[0]}', extra) from error


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
