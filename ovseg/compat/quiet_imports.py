"""Imports a module without a line that it prints through mmengine's ``print_log``."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mmengine import logging


def import_without(line: str, name: str) -> None:
    """Imports a module; whatever else it logs or prints is seen.

    Args:
        line: the text that is left out.
        name: dotted name of the module.
    """
    print_log = logging.print_log

    def print_all_but_that_line(msg: Any, *args: Any, **kwargs: Any) -> None:
        if msg != line:
            print_log(msg, *args, **kwargs)

    logging.print_log = print_all_but_that_line
    try:
        import_module(name)
    finally:
        logging.print_log = print_log
