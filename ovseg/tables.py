"""Text tables for terminals."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from ovseg.consoles import shown
from ovseg.errors import printable_line


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Aligned columns: the first ones to the left, the others to the right.

    Letters that would steer the terminal are escaped, and in scripts of ovseg those that the
    console lacks.

    Args:
        header: names of the columns.
        rows: one text a column each.
        left: how many columns are aligned to the left.

    Example:
        >>> print(text_table(('class', 'area'), [('cat', '40.0 %'), ('sofa', '9.0 %')]))
        class    area
        -----  ------
        cat    40.0 %
        sofa    9.0 %
    """
    header, *rows = ([shown(printable_line(cell)) for cell in row] for row in (header, *rows))
    lines = [header, *rows]
    widths = [max(_cells(row[column]) for row in lines) for column in range(len(header))]
    ruled = [header, ['-' * width for width in widths], *rows]
    return '\n'.join(
        '  '.join(
            cell + ' ' * (width - _cells(cell)) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in ruled
    )


def _cells(text: str) -> int:
    """How many terminal cells a text takes: East Asian letters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in 'WF')
        for letter in text
    )
