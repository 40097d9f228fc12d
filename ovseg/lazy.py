"""Packages that import a module when one of its names is first asked for.

``--help`` and words that are refused are answered in a fraction of a second because no package on
the way imports torch for names that nobody asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, modules: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: its dotted name.
        modules: the names that each module gives, by the module's dotted name.

    Example:
        >>> get, _ = lazy_names('ovseg', {'ovseg.files': ['check_folder']})
        >>> get('check_folder').__module__
        'ovseg.files'
    """
    module_of = {name: module for module, names in modules.items() for name in names}

    def get(name: str) -> Any:
        if name in module_of:
            return getattr(import_module(module_of[name]), name)
        raise AttributeError(f"module '{package}' has no attribute '{name}'")

    def names() -> list[str]:
        return sorted({*vars(import_module(package)), *module_of})

    return get, names
