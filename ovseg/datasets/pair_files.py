"""Files of region-noun pairs: images, masks beside them, and a tab-separated table of both."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from ovseg.errors import UserError
from ovseg.files import written_whole
from ovseg.input_files import read_text


@dataclass(frozen=True)
class Pair:
    """One row of a table; its fields are the table's columns.

    Attributes:
        filepath: image of the region, its surroundings painted over; relative to the folder of
            the table unless it is absolute.
        title: the noun.
        mask: grey image of the same size, 0 where the surroundings are; empty in tables as OVSeg
            published them, which have no such column.
    """

    filepath: str
    title: str
    mask: str = ''


COLUMNS = tuple(field.name for field in fields(Pair))
_NEEDED = ('filepath', 'title')
_CONTENT = 'table of region-noun pairs'


def write_pairs(path: str | Path, pairs: Iterable[Pair]) -> None:
    """Writes a table, whole or not at all.

    Args:
        path: of the ``.csv``.
        pairs: its rows.
    """
    with written_whole(path) as temporary, temporary.open('w', encoding='utf-8', newline='') as out:
        table = csv.writer(out, delimiter='\t', lineterminator='\n')
        table.writerow(COLUMNS)
        table.writerows(astuple(pair) for pair in pairs)


def read_pairs(path: str | Path) -> list[Pair]:
    """Reads a table.

    Args:
        path: tab-separated, with the columns ``filepath`` and ``title``, and ``mask`` if masks lie
            beside the images. Other columns are left alone.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: no text in UTF-8, cut off in a line, a column is missing, a row is incomplete,
            or there are no rows.
    """
    try:
        text = read_text(path, _CONTENT)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'{error} Make one with tools/make_mask_caption_pairs.py.'
        ) from error
    # A title within quotes may hold line breaks, so lines are left to the reader.
    table = csv.DictReader(io.StringIO(text, newline=''), delimiter='\t', strict=True)
    try:
        pairs = list(_rows(table, path))
    except csv.Error as error:
        raise UserError(
            f'the {_CONTENT} {path} cannot be read behind line {table.line_num} ({error}); make '
            'the pairs anew'
        ) from error
    if not pairs:
        raise UserError(f'{path} has no rows; make the pairs anew')
    return pairs


def _rows(table: csv.DictReader, path: str | Path) -> Iterator[Pair]:
    names = table.fieldnames or []
    if missing := [name for name in _NEEDED if name not in names]:
        raise UserError(
            f'{path} has no column {" and no column ".join(missing)}; its first line should '
            f'read {" <tab> ".join(COLUMNS)}'
        )
    for row in table:
        if not any(str(value or '').strip() for value in row.values()):
            continue  # blanks at the end
        if not row['filepath'] or not (row['title'] or '').strip():
            raise UserError(f'{path}, line {table.line_num}: an image or a title is missing')
        if None in row:
            raise UserError(f'{path}, line {table.line_num}: more entries than columns')
        yield Pair(row['filepath'], row['title'], row.get('mask') or '')
