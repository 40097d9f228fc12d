"""Which files ``ovseg label`` writes, and what one image gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ovseg.apis.kinds import PANOPTIC_FOLDER
from ovseg.apis.segments_result import SegmentsResult
from ovseg.cli.segment_summary import Found, Result
from ovseg.cli.set_files import place_of_png
from ovseg.cli.set_records import record_of
from ovseg.images.output_plan import PlannedOutput
from ovseg.visualization import save_panoptic_png


class Done(NamedTuple):
    """What one image gave.

    Attributes:
        found: what is in it.
        paths: its files by kind.
        record: for the files of the set, '' where none are wanted.
    """

    found: Found
    paths: dict[str, Path]
    record: str


@dataclass(frozen=True)
class Saving:
    """Which files are written.

    Attributes:
        folder: of all files.
        kinds: of the files of each image; none for areas alone.
        set_kinds: of the files of the whole set.
    """

    folder: Path
    kinds: tuple[str, ...]
    set_kinds: tuple[str, ...] = ()

    @property
    def planned_kinds(self) -> tuple[str, ...]:
        """Kinds by which names are told apart; each image has a PNG file in a panoptic set."""
        extra = {'panoptic'} & set(self.set_kinds) - set(self.kinds)
        return (*self.kinds, *extra)

    def save(self, result: Result, output: PlannedOutput) -> Done:
        """Writes the files of an image.

        Args:
            result: of the image.
            output: where its files go.

        Raises:
            UserError: see :meth:`ovseg.apis.results.SegmentationResult.save`.
        """
        paths = result.save(output.folder, output.stem, self.kinds) if self.kinds else {}
        if 'panoptic' in self.set_kinds:
            assert isinstance(result, SegmentsResult)  # of the task
            place = self.folder / PANOPTIC_FOLDER / place_of_png(self.folder, output)
            save_panoptic_png(result.ids, place)
        record = record_of(result, self.set_kinds) if self.set_kinds else ''
        return Done(Found.in_result(result), paths, record)
