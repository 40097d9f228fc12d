"""Heads of mmseg for two classes, built without advice that does not fit them here."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def two_classes_welcome() -> Iterator[None]:
    """Keeps mmseg from recommending one output channel and a threshold for two classes.

    Scores of ovseg are compared class by class, whatever their number.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'For binary segmentation, we suggest', UserWarning)
        yield
