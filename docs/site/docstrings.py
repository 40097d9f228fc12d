"""Docstrings as mkdocstrings should read them: its section of code is called `Examples:`."""

from __future__ import annotations

import re
from typing import Any

import griffe


class RunnableExamples(griffe.Extension):
    """Gives the section `Example:` the name under which its lines are shown as code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrites the docstring of an object that was just read."""
        if obj.docstring:
            obj.docstring.value = re.sub(
                r'^Example:$', 'Examples:', obj.docstring.value, flags=re.MULTILINE
            )
