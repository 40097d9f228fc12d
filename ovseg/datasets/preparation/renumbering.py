"""Labels from label maps of another numbering."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ovseg.datasets.preparation.recipe import Item, Labels
from ovseg.datasets.preparation.sources import require_file
from ovseg.errors import UserError


def renumber(item: Item, table: Mapping[int, int], content: str) -> npt.NDArray[np.uint8]:
    """Labels (H, W) of one image: its raw label map with each value replaced.

    Args:
        item: the image and, as its source, its raw label map.
        table: raw value to label.
        content: what the raw file is, for messages.

    Raises:
        FileNotFoundError: no such file.
        UserError: a value that is not in the table, which means a wrong source file.
    """
    from ovseg.datasets.loading import read_labels

    source = require_file(item.source, content)
    return apply_table(read_labels(source), table, source)


def apply_table(raw: Labels, table: Mapping[int, int], source: Path) -> npt.NDArray[np.uint8]:
    """Labels (H, W) with every value looked up in ``table``.

    Raises:
        UserError: a value that is not in the table, which means a wrong source file.
    """
    wanted = np.flatnonzero(np.bincount(raw.ravel(), minlength=1))
    for value in wanted.tolist():
        if value not in table:
            raise UserError(f'{source} holds the value {value}, which the data set does not have')
    lookup = np.zeros(int(wanted[-1]) + 1, np.uint8)
    for value in wanted.tolist():
        lookup[value] = table[value]
    return lookup[raw]
