"""Names of files: how long they may be."""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path

_NAME_BYTES = 255


def existing_part(folder: str | Path) -> Path:
    """The folder, or what exists of the folders above it."""
    existing = Path(folder).absolute()
    while not os.path.lexists(existing) and existing != existing.parent:
        existing = existing.parent
    return existing


def longest_name(folder: str | Path) -> int:
    """How many bytes a name in a folder may have.

    Args:
        folder: it need not exist yet.
    """
    try:
        return os.pathconf(existing_part(folder), 'PC_NAME_MAX')
    except (OSError, ValueError):
        return _NAME_BYTES


def fitting_stem(stem: str, room: int) -> str:
    """A stem, or, where it is too long, its beginning with a digest of all of it.

    Args:
        stem: how file names are to begin.
        room: bytes that there are for it.

    Example:
        >>> fitting_stem('photo', 240), fitting_stem('long' * 10, 20)
        ('photo', 'longlonglon-64644db0')
    """
    raw = os.fsencode(stem)
    if len(raw) <= room:
        return stem
    digest = '-' + blake2b(raw, digest_size=4).hexdigest()
    while stem and len(os.fsencode(stem)) > room - len(digest):
        stem = stem[:-1]
    return stem + digest
