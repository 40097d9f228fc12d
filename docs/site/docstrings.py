"""Docstrings as mkdocstrings should read them: what Sphinx would know, in Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r':(?:attr|class|data|exc|func|meth|mod):`(?:~[\w.]*\.)?([^`]+)`')


class Markdown(griffe.Extension):
    """Names its section of code as mkdocstrings does, and leaves code of what were references."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrites the docstring of an object that was just read."""
        if obj.docstring:
            text = _ROLE.sub(r'`\1`', obj.docstring.value)
            text = re.sub(r'^Example:$', 'Examples:', text, flags=re.MULTILINE)
            obj.docstring.value = re.sub(r'^Example::$', 'As code:', text, flags=re.MULTILINE)
