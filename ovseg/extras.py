"""Libraries that only some users need: imported where they are used, asked for in one sentence."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from ovseg.errors import UserError


def extra_module(name: str, extra: str, purpose: str) -> ModuleType:
    """A module of a library that belongs to an extra.

    Args:
        name: of the module, such as ``'rasterio.features'``.
        extra: of setup.py that installs it.
        purpose: what it is needed for, as a sentence begins: ``'Rasters'``.

    Raises:
        UserError: it is not installed; says how to.
    """
    try:
        return import_module(name)
    except ImportError as error:
        library = name.partition('.')[0]
        raise UserError(
            f'{purpose} need {library}, which cannot be imported ({error}): '
            f"pip install 'ovseg[{extra}]'"
        ) from error
