"""What the files of a whole set are made of: a line an image, written as soon as it is done.

The lines lie in a hidden folder, so that files of the set can be written again after images came
on top, without a mask being read again. One process writes one file.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ovseg.apis.results import SegmentationResult
from ovseg.apis.segments_result import SegmentsResult
from ovseg.cli.line_files import add_line, cut_last_line
from ovseg.files import cannot_write

RECORDS = '.records'
_NONE = -1
# A place is file * 2^_BITS + bytes from its beginning, in 64 bits with a sign.
_BITS = 44


def record_of(result: SegmentationResult | SegmentsResult, kinds: Collection[str]) -> str:
    """What the files of the set say about an image, as JSON.

    Args:
        result: of the image.
        kinds: of files of the set, see :data:`ovseg.apis.kinds.SET_FILES`.
    """
    height, width = result.image.shape[:2]
    record: dict[str, Any] = {'height': height, 'width': width}
    if 'areas' in kinds:
        record['areas'] = [
            (area.index, area.name, area.pixels, area.share, area.score) for area in result.areas()
        ]
    if 'coco' in kinds:
        record['annotations'] = result.coco_annotations()
    if 'panoptic' in kinds:
        assert isinstance(result, SegmentsResult)  # of the task
        record['segments_info'] = result.segments_info()
    return json.dumps(record)


class SetRecords:
    """The records in a folder of labels.

    Args:
        folder: of the labels.
        writer: the number of the process, which names its file.
    """

    def __init__(self, folder: str | Path, writer: int = 0) -> None:
        self._folder = Path(folder) / RECORDS
        self._own = self._folder / f'{writer}.jsonl'
        self._file: IO[bytes] | None = None

    @contextmanager
    def opened(self, wanted: bool = True) -> Iterator[None]:
        """For a time in which records are added.

        Args:
            wanted: False where none will be; no file is made then.

        Raises:
            CannotWrite: the file cannot be written to.
        """
        if not wanted:
            yield
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = open(self._own, 'ab', buffering=0)  # noqa: SIM115  # closed below
        except OSError as error:
            raise cannot_write(self._own, error) from error
        with self._file as file:
            cut_last_line(file)
            yield

    def add(self, image: str, record: str) -> None:
        """Keep what is said about an image; the last one said holds.

        Args:
            image: its name.
            record: of :func:`record_of`.

        Raises:
            CannotWrite: the disk does not take it.
        """
        assert self._file is not None  # within `opened`
        add_line(self._file, f'{json.dumps(image)}\t{record}\n'.encode('ascii'))

    def found(self, positions: Mapping[str, int]) -> FoundRecords:
        """The records of some images, whoever wrote them.

        Args:
            positions: by the name of an image its place in the order wanted: 0, 1, ...
        """
        places = array('q', [_NONE]) * len(positions)
        files = sorted(self._folder.glob('*.jsonl'))
        for number, path in enumerate(files):
            with path.open('rb') as file:
                start = 0
                for line in file:
                    name, tab, _ = line.partition(b'\t')
                    if tab and line.endswith(b'\n'):  # else it was cut
                        position = positions.get(json.loads(name))
                        if position is not None:
                            places[position] = (number << _BITS) + start
                    start += len(line)
        return FoundRecords(files, places)


class FoundRecords:
    """Where the record of each image is; eight bytes an image are held.

    Args:
        files: with records.
        places: of the records.
    """

    def __init__(self, files: list[Path], places: array[int]) -> None:
        self._files, self._places = files, places

    def has(self, position: int) -> bool:
        """Whether the image at a place of the order has a record."""
        return self._places[position] != _NONE

    def drop(self, position: int) -> None:
        """Leave an image out."""
        self._places[position] = _NONE

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Positions in their order, each with its record."""
        files = [path.open('rb') for path in self._files]
        try:
            for position, place in enumerate(self._places):
                if place == _NONE:
                    continue
                number, start = place >> _BITS, place & ((1 << _BITS) - 1)
                if files[number].tell() != start:
                    files[number].seek(start)
                yield position, json.loads(files[number].readline().partition(b'\t')[2])
        finally:
            for file in files:
                file.close()
