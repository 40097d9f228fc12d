"""Rows of a result as a table of pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ovseg.extras import of_extra

if TYPE_CHECKING:
    from pandas import DataFrame


def to_frame(rows: Sequence[Mapping[str, Any]], types: Mapping[str, str]) -> DataFrame:
    """A table with the same columns whatever was found, so that tables of images join.

    Args:
        rows: one a class or segment.
        types: pandas' type of each column, in order.

    Raises:
        UserError: pandas is missing.
    """
    with of_extra('pandas', 'Tables are made by pandas'):
        import pandas
    return pandas.DataFrame(list(rows), columns=list(types)).astype(dict(types))
