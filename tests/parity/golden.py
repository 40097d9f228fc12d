"""A golden set: which of its files are compared by what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch

from parity.report import Report

# Compares what a report holds; other files of the case lie in the folder.
Check = Callable[[Report, Path], None]


@dataclass(frozen=True)
class GoldenSet:
    """The files of one golden folder.

    Attributes:
        checks: by file name, or by a pattern such as ``case_*.pt``.
        marks: of names and patterns that other sets have, too: a top-level key that only our file
            has. It tells whose a file is that lies in no folder of its set.
        not_covered: names of files that nothing built yet can be compared with, and why. In their
            folder they are listed and do not fail it; asked for by name they do.
    """

    checks: Mapping[str, Check]
    marks: Mapping[str, str] = field(default_factory=dict)
    not_covered: Mapping[str, str] = field(default_factory=dict)

    def check_of(self, name: str) -> Check | None:
        """The check of a file name; a name that is written out goes before patterns."""
        return self.checks.get(name) or _first_match(self.checks, name)

    def owns(self, file: Path) -> bool:
        """Whether a file that lies anywhere can be ours: by its name and, where said, content."""
        if self.check_of(file.name) is None:
            return False
        mark = _first_match(self.marks, file.name)
        return mark is None or mark in read(file)


def read(path: Path) -> dict[str, Any]:
    """Content of a golden file."""
    return torch.load(path, map_location='cpu', weights_only=True)


def _first_match(table: Mapping[str, Any], name: str) -> Any | None:
    return next((value for pattern, value in table.items() if fnmatchcase(name, pattern)), None)
