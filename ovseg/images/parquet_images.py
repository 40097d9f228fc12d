"""Images whose bytes lie in Parquet files: a column with the files' bytes, one with their names.

Rows are read a few at a time. Where a row is, is known from the files' metadata, so that any rows
can be read by any process that sees the files.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ovseg.errors import UserError, nearest
from ovseg.extras import of_extra
from ovseg.folders import base_of_pattern, is_image_name, is_pattern, matching_files
from ovseg.images.finding import FoundImage, FoundImages

if TYPE_CHECKING:
    from ovseg.images.reading import ImageBytes

SUFFIX = '.parquet'
COLUMNS = 'image,name'
# Rows that are decoded at once.
_AT_ONCE = 16


@dataclass(frozen=True)
class _Group:
    """A row group: rows that lie together.

    Attributes:
        file: its path.
        index: its number in the file.
        start: how many rows stand before it, in all files.
    """

    file: str
    index: int
    start: int


@dataclass(frozen=True)
class ParquetImages:
    """The images of some Parquet files.

    Attributes:
        groups: in the order of the images.
        image: the column with the bytes of the image files; a struct with a field ``bytes``, as
            Hugging Face's datasets write it, counts as well.
        name: the column with the names; without it, the field ``path`` of the struct.
    """

    groups: tuple[_Group, ...]
    image: str
    name: str

    @classmethod
    def find(cls, pattern: str, columns: str = COLUMNS) -> tuple[ParquetImages, FoundImages]:
        """The images that a file, a folder of files or a pattern names.

        Args:
            pattern: as typed by a person.
            columns: of the bytes and of the names, separated by a comma.

        Returns:
            The images, and their names as if these were paths below a folder.

        Raises:
            UserError: a library is missing; no Parquet file; no such columns; a name that is empty,
                stands twice, or leads out of a folder.
            FileNotFoundError: there is no such file.
        """
        image, comma, name = columns.partition(',')
        if not comma or not image.strip() or not name.strip():
            raise UserError(f'--columns must name two, such as "{COLUMNS}", got {columns!r}.')
        image, name = image.strip(), name.strip()
        groups: list[_Group] = []
        names: list[str] = []
        for path in _files(pattern):
            with _opened(path) as file:
                column = _check_columns(file, path, image, name)
                for index in range(file.num_row_groups):
                    groups.append(_Group(path, index, len(names)))
                    table = file.read_row_group(index, columns=[column])
                    names += _flat(table, column).to_pylist()
        if not names:
            raise UserError(f'{pattern} has no rows.')
        images = tuple(FoundImage(Path(each), Path(each)) for each in _checked(names))
        return cls(tuple(groups), image, name), FoundImages(images)

    def read(self, positions: Sequence[int], names: Sequence[str]) -> Iterator[ImageBytes]:
        """Some of the images.

        Args:
            positions: which, ascending, from 0.
            names: what each is called.

        Raises:
            UserError: a file cannot be read any more.
        """
        from ovseg.images.reading import ImageBytes  # names are found without decoders

        named = iter(names)
        for part in self.by_group(positions):
            group = self.groups[bisect_right(self.groups, part[0], key=_start) - 1]
            for data in self._rows(group, [position - group.start for position in part]):
                yield ImageBytes(data, next(named))

    def by_group(self, positions: Sequence[int]) -> Iterator[Sequence[int]]:
        """Positions in parts, each in one row group.

        Args:
            positions: ascending.
        """
        first = 0
        while first < len(positions):
            number = bisect_right(self.groups, positions[first], key=_start)
            last = len(positions)
            if number < len(self.groups):
                last = bisect_left(positions, self.groups[number].start, first)
            yield positions[first:last]
            first = last

    def _rows(self, group: _Group, rows: Sequence[int]) -> Iterator[bytes]:
        """The bytes of some rows of a group; where a row has none, there are none."""
        wanted = iter(rows)
        row = next(wanted, None)
        start = 0
        with _opened(group.file) as file:
            column = _column_of_bytes(file, self.image)
            for batch in file.iter_batches(_AT_ONCE, row_groups=[group.index], columns=[column]):
                values = _flat(batch, column)
                while row is not None and row < start + len(values):
                    yield values[row - start].as_py() or b''
                    row = next(wanted, None)
                if row is None:
                    return
                start += len(values)


def _start(group: _Group) -> int:
    return group.start


def is_parquet(pattern: str) -> bool:
    """Whether a person means Parquet files: one, a pattern of them, a folder without images."""
    path = os.path.expanduser(pattern)
    if not os.path.isdir(path):
        return pattern.lower().endswith(SUFFIX)
    names = os.listdir(path) if os.access(path, os.R_OK) else []
    return any(name.lower().endswith(SUFFIX) for name in names) and not any(
        map(is_image_name, names)
    )


def _files(pattern: str) -> list[str]:
    path = os.path.expanduser(pattern)
    if os.path.isdir(path):
        names = sorted(name for name in os.listdir(path) if name.lower().endswith(SUFFIX))
        return [os.path.abspath(os.path.join(path, name)) for name in names]
    if os.path.exists(path):
        return [os.path.abspath(path)]
    found = matching_files(path, None) if is_pattern(path) and base_of_pattern(path) else []
    if not found:
        raise FileNotFoundError(f'There is no Parquet file {pattern}.')
    return [os.path.abspath(file) for file in found]


def _opened(path: str) -> Any:
    with of_extra('parquet', 'Parquet files are read by pyarrow'):
        import pyarrow
        from pyarrow import parquet
    try:
        return parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f'{path} cannot be read as a Parquet file ({error}).') from error


def _check_columns(file: Any, path: str, image: str, name: str) -> str:
    """The column of the names; stops where there is none, or none of bytes."""
    names = file.schema_arrow.names
    if image not in names:
        raise UserError(
            f'{path} has no column {image!r} with the bytes of images but {", ".join(names)}: name '
            f'two with --columns IMAGE,NAME.{nearest(image, names)}'
        )
    kind = str(file.schema_arrow.field(_column_of_bytes(file, image).split('.')[0]).type)
    if 'binary' not in kind:
        raise UserError(
            f'The column {image!r} of {path} holds {kind[:80]} and no bytes of images: name '
            'another with --columns IMAGE,NAME.'
        )
    if name in names:
        return name
    if _is_struct(file, image, 'path'):
        return f'{image}.path'
    raise UserError(
        f'{path} has no column {name!r} with the names of images but {", ".join(names)}: name two '
        f'with --columns IMAGE,NAME.{nearest(name, names)}'
    )


def _column_of_bytes(file: Any, image: str) -> str:
    return f'{image}.bytes' if _is_struct(file, image, 'bytes') else image


def _is_struct(file: Any, column: str, field: str) -> bool:
    kind = file.schema_arrow.field(column).type
    return hasattr(kind, 'get_field_index') and kind.get_field_index(field) >= 0


def _flat(rows: Any, column: str) -> Any:
    """A column of a table, or a field of one."""
    from pyarrow import compute

    outer, _, inner = column.partition('.')
    values = rows.column(outer)
    return compute.struct_field(values, inner) if inner else values


def _checked(names: Sequence[Any]) -> Iterator[str]:
    """The names, each of which must be of use as a path below a folder."""
    seen = set()
    for name in names:
        path = PurePosixPath(str(name or ''))
        if not name or not path.name or path.is_absolute() or '..' in path.parts:
            raise UserError(
                f'{name!r} names no file below a folder: the names of images must be such as '
                '"train/0001.jpg", because their files are named so.'
            )
        if str(path) in seen:
            raise UserError(f'Two images are called {name}: their names must be different.')
        seen.add(str(path))
        yield str(path)
