"""Importing this module imports `mmseg.datasets` without the two lines it prints.

onedl-mmsegmentation prints 'Could not import OneDL' wherever the package `onedl` is not installed,
on the standard output of every tool that touches a data set. It can go when mmseg logs that line
at the level (DEBUG) which it asks for.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mmengine import logging

_LINE = 'Could not import OneDL'


def _import_quietly(name: str) -> None:
    print_log = logging.print_log

    def print_all_but_that_line(msg: Any, *args: Any, **kwargs: Any) -> None:
        if msg != _LINE:
            print_log(msg, *args, **kwargs)

    logging.print_log = print_all_but_that_line
    try:
        import_module(name)
    finally:
        logging.print_log = print_log


_import_quietly('mmseg.datasets')
