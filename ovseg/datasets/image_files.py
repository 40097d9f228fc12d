"""Which files of a folder are the images of a data set: the same to a loader and to preparation."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

from PIL import Image


def left_out(paths: Sequence[str], suffixes: Sequence[str]) -> str | None:
    """A sentence on files that look like images and are none of the wanted kinds, else None.

    Args:
        paths: files of a folder.
        suffixes: of the wanted kinds, in small letters.
    """
    known = set(Image.registered_extensions()) | {'.heic', '.heif', '.avif', '.jxl', '.raw', '.svg'}
    others = [
        path
        for path in paths
        if not path.lower().endswith(tuple(suffixes))
        and os.path.splitext(path)[1].lower() in known - {'.pdf', '.h5', '.hdf', '.npy'}
    ]
    if not others:
        return None
    kinds = Counter(os.path.splitext(path)[1].lower() for path in others)
    said = ', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))
    return f'files of other kinds are left out ({said}), such as {others[0]}'
