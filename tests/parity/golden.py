"""A golden set: which of its files are compared by what, and how they are read."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parity.report import Case

# Compares what a file holds; other files of the case lie in the folder.
Check = Callable[[Case, Path], None]


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


@contextmanager
def saved(**contents: Any) -> Iterator[dict[str, str]]:
    """Temporary files, as published ones lie on disk.

    Args:
        contents: what is saved, by a name.

    Yields:
        Paths by these names.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: str(Path(folder) / f'{name}.pt') for name in contents}
        for name, content in contents.items():
            torch.save(content, paths[name])
        yield paths


def as_float(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict whose float32 values the file keeps as float16 where it can hold them."""
    return {
        key: value.float() if value.is_floating_point() else value for key, value in state.items()
    }


def token_table(ids: Tensor, rows: Tensor, count: int = 49408) -> Tensor:
    """A token embedding of which a file holds some rows; the others are never read.

    Args:
        ids: (n,), which rows.
        rows: (n, W).
        count: tokens.
    """
    table = torch.zeros(count, rows.shape[1])
    table[ids.long()] = rows.float()
    return table


def clip_config(golden: Mapping[str, Any]) -> dict[str, Any]:
    """An open_clip model config with the dimensions that a golden file states.

    Args:
        golden: its ``config``; without ``text_*`` the text tower is a tiny one.
    """
    sizes = ('image_size', 'patch_size', 'width', 'layers', 'mlp_ratio')
    vision = {key: golden[key] for key in sizes if key in golden}
    # A ResNet's pool has 32 times the width.
    pooled = golden['width'] * (32 if golden.get('kind') == 'rn' else 1)
    text = {'context_length': 8, 'vocab_size': 16, 'width': 8, 'heads': 1, 'layers': 1}
    if 'text_width' in golden:
        text = {key: golden[f'text_{key}'] for key in ('width', 'heads', 'layers')}
        text.update(context_length=77, vocab_size=49408)
    return {
        'embed_dim': golden['embed_dim'],
        'vision_cfg': {**vision, 'head_width': pooled // golden['heads']},
        'text_cfg': text,
        'quick_gelu': golden.get('quick_gelu', True),
    }


def _first_match(table: Mapping[str, Any], name: str) -> Any | None:
    return next((value for pattern, value in table.items() if fnmatchcase(name, pattern)), None)
