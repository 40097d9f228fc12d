"""What panoptic and instance segmentation give back: segments as tables, pictures and files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ovseg.apis.bridges.bridged import TOLERANCE, Bridged
from ovseg.apis.bridges.named_mask import NamedMask
from ovseg.apis.bridges.pandas_table import to_frame
from ovseg.apis.coco import (
    IMAGE_ID,
    categories_of,
    category_of,
    file_info,
    image_record,
    panoptic_categories,
)
from ovseg.apis.files import file_paths, stem_of, write_json, write_picture
from ovseg.apis.kinds import KINDS_OF_SEGMENT_FILES, PANOPTIC_PNG, SEGMENT_ENDS
from ovseg.apis.results import ClassArea
from ovseg.apis.shown import ShownAsPicture
from ovseg.apis.tasks import check_segment_task
from ovseg.coco_masks import mask_record
from ovseg.images.output_plan import check_targets
from ovseg.mask_polygons import check_tolerance, geometry
from ovseg.regions.mask_segments import Segment
from ovseg.tables import text_table
from ovseg.visualization import draw_segments, save_panoptic_png
from ovseg.visualization.legend import format_share

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, eq=False)
class SegmentsResult(ShownAsPicture, Bridged):
    """Segments of one image, with the words that they stand for.

    Shown as the last line of a notebook cell, it is its overlay picture.

    Attributes:
        image: (H, W, 3) uint8 RGB, the image as it was read (upright).
        ids: (H, W) int32, the id of each pixel's segment; 0 where there is none.
        segments: in the order of their ids: 1, 2, ..., the surest first.
        names: one name a class, in label order.
        palette: one RGB colour a class.
        task: ``'panoptic'``, or ``'instance'`` for things alone.
        stuff: labels of the classes that are no things.
        background_index: the class that means "none of these", or None.
        source: what the image is called (a path), '' if it has no name.
        model: which model made it.
    """

    image: np.ndarray
    ids: np.ndarray
    segments: tuple[Segment, ...]
    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    task: str = 'panoptic'
    stuff: frozenset[int] = frozenset()
    background_index: int | None = None
    source: str = ''
    model: str = ''

    def __post_init__(self) -> None:
        check_segment_task(self.task)
        if self.ids.shape != self.image.shape[:2]:
            raise ValueError(f'ids are {self.ids.shape}, the image is {self.image.shape[:2]}.')
        if len(self.names) != len(self.palette):
            raise ValueError(f'{len(self.names)} names, but {len(self.palette)} colours.')
        if [segment.id for segment in self.segments] != list(range(1, len(self.segments) + 1)):
            raise ValueError('the ids of segments must be 1, 2, ... in this order.')

    def __repr__(self) -> str:
        height, width = self.ids.shape
        first = ', '.join(f'{each.id} {self.names[each.label]}' for each in self.segments[:4])
        count = len(self.segments)
        found = f'{count} segment{"" if count == 1 else "s"}'
        return f'SegmentsResult({height} x {width}, {found}{": " if count else ""}{first})'

    def mask(self, number: int) -> np.ndarray:
        """(H, W) bool: where a segment is.

        Args:
            number: its id.

        Raises:
            KeyError: no segment has this id.
        """
        if not 1 <= number <= len(self.segments):
            raise KeyError(f'No segment has the id {number}; there are {len(self.segments)}.')
        return self.ids == number

    def table(self) -> str:
        """Id, class, area share and score of each segment, as aligned text."""
        rows = [
            (
                str(segment.id),
                self.names[segment.label],
                format_share(segment.area / self.ids.size),
                f'{segment.score:.3f}',
            )
            for segment in self.segments
        ]
        return text_table(('id', 'class', 'area', 'score'), rows, left=2)

    def areas(self) -> list[ClassArea]:
        """The classes that have segments, largest first.

        A class's score is the mean over its pixels of their segments' scores.
        """
        pixels: Counter[int] = Counter()
        scores: defaultdict[int, float] = defaultdict(float)
        for segment in self.segments:
            pixels[segment.label] += segment.area
            scores[segment.label] += segment.area * segment.score
        return [
            ClassArea(
                index=label,
                name=self.names[label],
                pixels=count,
                share=count / self.ids.size,
                score=scores[label] / count,
            )
            for label, count in sorted(pixels.items(), key=lambda item: (-item[1], item[0]))
        ]

    def overlay(self, opacity: float = 0.5, legend: bool = True) -> np.ndarray:
        """The image with its segments painted over it, uint8 RGB (see ``draw_segments``)."""
        return draw_segments(
            self.image,
            self.ids,
            self.segments,
            self.names,
            self.palette,
            opacity=opacity,
            legend=legend,
        )

    def to_coco_panoptic(self, file_name: str | None = None) -> dict[str, Any]:
        """A COCO panoptic annotation file of one image; scores come on top of the format.

        Category ids are labels + 1. The background is left out.

        Args:
            file_name: of the PNG file with the ids; by default as :meth:`save` names it.
        """
        return {
            'info': file_info(),
            'images': [image_record(self.source, self.ids.shape)],
            'annotations': [
                {
                    'image_id': IMAGE_ID,
                    'file_name': file_name or stem_of(self.source) + PANOPTIC_PNG,
                    'segments_info': self.segments_info(),
                }
            ],
            'categories': panoptic_categories(
                self.names, self.palette, self.background_index, self.stuff
            ),
        }

    def segments_info(self) -> list[dict[str, Any]]:
        """The segments as :meth:`to_coco_panoptic` lists them."""
        return [segment.coco_record(category_of(segment.label)) for segment in self.segments]

    def to_coco_instances(self) -> dict[str, Any]:
        """A COCO annotation file of one image: the run-length encoded mask of each thing.

        Category ids are labels + 1, annotation ids those of the segments.
        """
        return {
            'info': file_info(),
            'images': [image_record(self.source, self.ids.shape)],
            'categories': categories_of(self.names, self.background_index, self.stuff),
            'annotations': self.coco_annotations(),
        }

    def coco_annotations(self) -> list[dict[str, Any]]:
        """The annotations of :meth:`to_coco_instances`."""
        return [
            {
                'id': segment.id,
                'image_id': IMAGE_ID,
                'category_id': category_of(segment.label),
                **mask_record(self.ids == segment.id),
                'iscrowd': 0,
                'score': segment.score,
            }
            for segment in self.segments
            if segment.is_thing
        ]

    def named_masks(self) -> list[NamedMask]:
        """The masks of the segments, in the order of their ids."""
        return [
            NamedMask(
                self.ids == segment.id,
                segment.label,
                self.names[segment.label],
                segment.score,
                segment.id,
            )
            for segment in self.segments
        ]

    def to_polygons(self, tolerance: float = 0.0) -> dict[int, dict[str, Any]]:
        """Outlines of the segments, by id: ``Polygon`` or ``MultiPolygon`` of GeoJSON.

        Args:
            tolerance: in pixels, as are the points (see :meth:`SegmentationResult.to_polygons`).

        Raises:
            UserError: the tolerance is no number from 0 on.
        """
        return {
            segment.id: geometry(each.polygons(tolerance))
            for segment, each in zip(self.segments, self.named_masks(), strict=True)
        }

    def to_pandas(self) -> DataFrame:
        """A row a segment (``pip install "ovseg[pandas]"``).

        Columns: ``image``, ``id``, ``index`` (the class's label), ``name``, ``thing`` (bool),
        ``pixels``, ``share`` of the image in [0, 1], ``score`` in [0, 1], and the box ``x``, ``y``,
        ``width``, ``height`` in pixels. Tables of several images join by ``pandas.concat``.

        Raises:
            UserError: pandas is missing.
        """
        box = ('x', 'y', 'width', 'height')
        rows = [
            {
                'image': self.source,
                'id': segment.id,
                'index': segment.label,
                'name': self.names[segment.label],
                'thing': segment.is_thing,
                'pixels': segment.area,
                'share': segment.area / self.ids.size,
                'score': segment.score,
                **dict(zip(box, segment.box, strict=True)),
            }
            for segment in self.segments
        ]
        types = {'image': 'str', 'id': 'int64', 'index': 'int64', 'name': 'str', 'thing': 'bool'}
        numbers = {'pixels': 'int64', 'share': 'float64', 'score': 'float64'}
        return to_frame(rows, {**types, **numbers, **dict.fromkeys(box, 'int64')})

    def save(
        self,
        folder: str | Path,
        stem: str | None = None,
        what: Collection[str] | None = None,
        tolerance: float = TOLERANCE,
    ) -> dict[str, Path]:
        """Write files; each appears whole or not at all.

        =========  ========================  ====================================================
        kind       file                      content
        =========  ========================  ====================================================
        overlay    ``STEM_overlay.png``      the picture with its legend
        panoptic   ``STEM_panoptic.json``    segments, in COCO's panoptic format, beside
                   ``STEM_panoptic.png``     the ids, ``R + 256 G + 256^2 B``
        instances  ``STEM_instances.json``   things, in COCO's format, run-length encoded masks
        yolo       ``STEM.txt``              polygons as YOLO's segmentation takes them
        labelme    ``STEM.json``             polygons as LabelMe reads them
        =========  ========================  ====================================================

        Args:
            folder: made if missing.
            stem: how the files begin; by default the image's file name without its suffix.
            what: kinds of files; by default the overlay, and what is named like the task.
            tolerance: of the polygons of ``yolo`` and ``labelme``, in pixels (see
                :meth:`to_polygons`).

        Returns:
            The paths written, by kind; of ``panoptic`` that of the JSON file.

        Raises:
            UserError: the task has no such kind, the tolerance is no number from 0 on, a file
                would replace the image or a file beside it that ovseg did not write, or the folder
                cannot be written to.
        """
        check_tolerance(tolerance)
        stem = stem or stem_of(self.source)
        kinds = KINDS_OF_SEGMENT_FILES[self.task]
        ends = {kind: SEGMENT_ENDS[kind] for kind in kinds}
        paths = file_paths(folder, stem, ends, kinds[:2] if what is None else what)
        extra = [path.with_suffix('.png') for kind, path in paths.items() if kind == 'panoptic']
        check_targets([*paths.values(), *extra], self.source)
        for kind, path in paths.items():
            if kind == 'overlay':
                write_picture(self.overlay(), path, kind)
            elif kind == 'instances':
                write_json(self.to_coco_instances(), path)
            elif kind in ('yolo', 'labelme'):
                self._write_annotations(kind, path, tolerance)
            else:
                png = save_panoptic_png(self.ids, path.with_suffix('.png'))
                write_json(self.to_coco_panoptic(png.name), path)
        return paths
