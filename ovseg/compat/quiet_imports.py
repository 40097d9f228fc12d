"""Lines that MM packages print through mmengine's ``print_log``, left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from mmengine import logging


@contextmanager
def without_lines(module: ModuleType, unwanted: Callable[[str], bool]) -> Iterator[None]:
    """Leaves out lines that a module logs or prints by its ``print_log``; all others are seen.

    Args:
        module: whose ``print_log`` is asked.
        unwanted: whether a line is left out.
    """
    print_log = module.print_log

    def print_the_others(msg: Any, *args: Any, **kwargs: Any) -> None:
        if not unwanted(str(msg)):
            print_log(msg, *args, **kwargs)

    module.print_log = print_the_others  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module.print_log = print_log  # type: ignore[attr-defined]


def import_without(line: str, name: str) -> None:
    """Imports a module; whatever else it logs or prints is seen.

    Args:
        line: the text that is left out.
        name: dotted name of the module.
    """
    with without_lines(logging, line.__eq__):
        import_module(name)
