"""Values of ``--cfg-options``."""

from __future__ import annotations

import argparse
import ast
from typing import Any

from mmengine.config import DictAction

from ovseg.errors import UserError


class OptionsAction(DictAction):
    """``--cfg-options key=value ...``; a word without ``=`` is a usage error.

    A value with braces is read as a Python literal, so that a list of dicts can be given.
    """

    @staticmethod
    def _parse_iterable(val: str) -> Any:
        if '{' not in val:
            return DictAction._parse_iterable(val)
        try:
            return ast.literal_eval(val)
        except (ValueError, SyntaxError) as error:
            raise UserError(
                f'--cfg-options cannot read {val!r}: write a Python literal, such as '
                "\"[{'type': 'KeySmoothing', 'threshold': 1.0}]\""
            ) from error

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Parses the words and checks their form first."""
        for word in values:
            if '=' not in word:
                parser.error(f"--cfg-options takes KEY=VALUE, got '{word}'")
        super().__call__(parser, namespace, values, option_string)
