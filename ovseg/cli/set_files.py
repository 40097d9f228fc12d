"""Files of a whole set of images: one for all, written from a record of each."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovseg.apis.coco import categories_of, file_info, panoptic_categories
from ovseg.apis.files import write_long_json
from ovseg.apis.kinds import PANOPTIC_FOLDER, SET_FILES
from ovseg.apis.tasks import stuff_labels
from ovseg.cli.set_records import FoundRecords
from ovseg.errors import UserError
from ovseg.extras import of_extra
from ovseg.files import written_whole
from ovseg.images.compact_plan import CompactPlan
from ovseg.images.output_plan import PlannedOutput
from ovseg.result_files import is_result
from ovseg.vocabulary import Vocabulary

if TYPE_CHECKING:
    pass

# Images whose areas are written at once.
_ROWS_OF = 4096
_MARK = (b'made_by', b'ovseg')


@dataclass(frozen=True)
class ImageSet:
    """The images of a set, and what was asked about them.

    Attributes:
        folder: of the files.
        plan: where the files of each image go, in the order of the ids, which begin at 1.
        vocabulary: the classes as results have them.
        stuff: which of them are no things, as the command line says it.
        records: of the images that are done.
    """

    folder: Path
    plan: CompactPlan
    vocabulary: Vocabulary
    stuff: str | None
    records: FoundRecords

    def write(self, kinds: Collection[str]) -> dict[str, Path]:
        """Write files; each appears whole or not at all, and in memory is one image at a time.

        Args:
            kinds: of :data:`ovseg.apis.kinds.SET_FILES`.

        Returns:
            The paths written, by kind.

        Raises:
            CannotWrite: a file could not be written.
        """
        paths = {kind: self.folder / SET_FILES[kind] for kind in SET_FILES if kind in kinds}
        writers: dict[str, Callable[[Path], None]] = {
            'coco': self._write_coco,
            'panoptic': self._write_panoptic,
            'areas': self._write_areas,
        }
        for kind, path in paths.items():
            writers[kind](path)
        return paths

    def _write_coco(self, path: Path) -> None:
        names, background = self.vocabulary.names, self.vocabulary.background_index
        labels = stuff_labels(self.stuff, self.vocabulary)
        content = {
            'info': file_info(),
            'categories': categories_of(names, background, labels),
            'images': self._images(),
            'annotations': self._annotations(),
        }
        write_long_json(content, path)

    def _write_panoptic(self, path: Path) -> None:
        vocabulary = self.vocabulary
        content = {
            'info': file_info(),
            'categories': panoptic_categories(
                vocabulary.names,
                vocabulary.palette,
                vocabulary.background_index,
                stuff_labels(self.stuff, vocabulary),
            ),
            'images': self._images(),
            'annotations': (
                {
                    'image_id': position + 1,
                    'file_name': place_of_png(self.folder, self.plan[position]).as_posix(),
                    'segments_info': record['segments_info'],
                }
                for position, record in self.records
            ),
        }
        write_long_json(content, path)

    def _images(self) -> Iterator[dict[str, Any]]:
        for position, record in self.records:
            yield {
                'id': position + 1,
                'file_name': self.plan.place(position),
                'height': record['height'],
                'width': record['width'],
            }

    def _annotations(self) -> Iterator[dict[str, Any]]:
        number = 0
        for position, record in self.records:
            for annotation in record['annotations']:
                number += 1
                yield {**annotation, 'id': number, 'image_id': position + 1}

    def _write_areas(self, path: Path) -> None:
        pyarrow = _pyarrow()
        from pyarrow import parquet

        fields = {
            'image': pyarrow.string(),
            'class_index': pyarrow.int32(),
            'name': pyarrow.string(),
            'pixels': pyarrow.int64(),
            'share': pyarrow.float64(),
            'score': pyarrow.float64(),
        }
        schema = pyarrow.schema(list(fields.items()), metadata=dict([_MARK]))
        columns: list[list[Any]] = [[] for _ in fields]
        with written_whole(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:

            def write() -> None:
                writer.write_table(
                    pyarrow.Table.from_arrays(
                        [
                            pyarrow.array(column, kind)
                            for column, kind in zip(columns, fields.values(), strict=True)
                        ],
                        schema=schema,
                    )
                )

            for position, record in self.records:
                # Parquet's strings are Unicode, names of files may be other bytes.
                name = os.fsencode(self.plan.place(position)).decode('utf-8', 'backslashreplace')
                for row in record['areas']:
                    for column, value in zip(columns, (name, *row), strict=True):
                        column.append(value)
                if len(columns[0]) >= _ROWS_OF:
                    write()
                    columns = [[] for _ in fields]
            write()


def place_of_png(folder: Path, output: PlannedOutput) -> Path:
    """Where the panoptic PNG file of an image is, below the folder of these.

    Args:
        folder: of all files.
        output: where the image's own files go.
    """
    return output.folder.relative_to(folder) / f'{output.stem}.png'


def check_set_files(folder: str | Path, kinds: Collection[str], plan: CompactPlan) -> None:
    """Stop before a long run whose files of the set could not be written.

    Args:
        folder: of the files.
        kinds: of :data:`ovseg.apis.kinds.SET_FILES`.
        plan: of the images.

    Raises:
        UserError: a library is missing; a file that is no result of ovseg is in the way; the
            images have a folder that is called as that of the panoptic PNG files.
    """
    if 'areas' in kinds:
        _pyarrow()
    for kind in kinds:
        path = Path(folder) / SET_FILES[kind]
        if os.path.lexists(path) and not (_is_own(path) if kind == 'areas' else is_result(path)):
            raise UserError(
                f'{path} is there and is no result of ovseg, so it is not replaced: choose another '
                '--out-dir.'
            )
    if 'panoptic' in kinds:
        for place in plan.places():
            first, slash, _ = place.partition('/')
            if slash and first.lower() == PANOPTIC_FOLDER:
                raise UserError(
                    f'The images have a folder {first}, and the PNG files of '
                    f'{SET_FILES["panoptic"]} go into one of this name: call yours otherwise.'
                )


def _pyarrow() -> Any:
    with of_extra('parquet', f'{SET_FILES["areas"]} is written by pyarrow'):
        import pyarrow
    return pyarrow


def _is_own(path: Path) -> bool:
    """Whether a Parquet file is of this module."""
    pyarrow = _pyarrow()
    from pyarrow import parquet

    key, value = _MARK
    try:
        return (parquet.read_schema(path).metadata or {}).get(key) == value
    except (OSError, pyarrow.ArrowException):
        return False
