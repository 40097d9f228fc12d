"""A raster of any size and words in; labels, areas and polygons with its coordinates out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ovseg import __version__
from ovseg.apis.files import file_paths, stem_of, write_json, write_picture
from ovseg.apis.kinds import RASTER_ENDS
from ovseg.apis.results import ClassArea
from ovseg.apis.segmenter import OpenVocabSegmenter
from ovseg.budget import MemoryBudget
from ovseg.errors import UserError, notify
from ovseg.extras import extra_module
from ovseg.images.output_plan import check_targets
from ovseg.nested_tensors import tensor_bytes
from ovseg.progress import with_progress
from ovseg.rasters.blended import BlendedTiles, PlacedMap
from ovseg.rasters.ground import check_is_on_earth, pixel_area
from ovseg.rasters.label_file import BLOCK, LabelFile, label_file, no_data_value
from ovseg.rasters.polygons import write_polygons
from ovseg.rasters.raster_file import Raster, opened_raster
from ovseg.rasters.settings import RasterSettings
from ovseg.rasters.tiles import Span, spans
from ovseg.scores.decide import Decision, class_sums, decide
from ovseg.scores.row_map import RowMap
from ovseg.tables import text_table
from ovseg.text import Classifier
from ovseg.visualization import draw_overlay
from ovseg.visualization.legend import format_share
from ovseg.vocabulary import Vocabulary

# The longest side of the overlay picture, in pixels.
_OVERLAY_SIDE = 2048
# Shares of the memory: scores that are decided at once; the rest is for tiles and labels, less what
# GDAL keeps.
_STRIPS = 1 / 4
_TILES = 1 / 2
# A pixel that is decided: its label (8), how sure that is (4), both again while they are written.
_BYTES_A_PIXEL = 26


@dataclass(frozen=True, eq=False)
class RasterResult:
    """What was found in a raster.

    Attributes:
        source: the raster's path.
        model: which model made it.
        size: (H, W) in pixels.
        names: one name a class, in label order.
        palette: one RGB colour a class.
        background_index: the class that means "none of these", or None.
        areas: the classes present, largest first; shares are those of the pixels with data.
        valid_pixels: how many pixels have data.
        crs: the coordinate reference system as text, '' if there is none.
        pixel_area: of a pixel, in square units of ``unit``; None without a projected system that
            is true to areas.
        unit: of length in that system, such as ``'metre'``; '' if there is none.
        paths: the files written, by kind.
    """

    source: str
    model: str
    size: tuple[int, int]
    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    background_index: int | None
    areas: tuple[ClassArea, ...]
    valid_pixels: int
    crs: str
    pixel_area: float | None
    unit: str
    paths: dict[str, Path]

    def table(self) -> str:
        """Class, share, area on the ground where it is known, and mean score, as aligned text."""
        header = ['class', 'share', 'score']
        if self.pixel_area is not None:
            header.insert(2, f'square {self.unit}s'.replace('foots', 'feet'))
        rows = []
        for area in self.areas:
            row = [area.name, format_share(area.share), _score_text(area.score)]
            if self.pixel_area is not None:
                row.insert(2, f'{area.pixels * self.pixel_area:.6g}')
            rows.append(row)
        return text_table(header, rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            'raster': self.source,
            'model': self.model,
            'ovseg version': __version__,
            'height': self.size[0],
            'width': self.size[1],
            'crs': self.crs,
            'unit': self.unit,
            'pixel_area': self.pixel_area,
            'valid_pixels': self.valid_pixels,
            'no_data_value': no_data_value(len(self.names)),
            'background_index': self.background_index,
            'vocabulary': list(self.names),
            'palette': [list(map(int, color)) for color in self.palette],
            'classes': [vars(area) for area in self.areas],
            'files': {kind: path.name for kind, path in self.paths.items()},
        }


def _score_text(score: float | None) -> str:
    return '-' if score is None else f'{score:.3f}'


def segment_raster(
    segmenter: OpenVocabSegmenter,
    path: str | Path,
    words: Any = None,
    *,
    folder: str | Path,
    what: Collection[str] = ('labels', 'overlay', 'json'),
    background: str | Sequence[str] | None = None,
    threshold: float | None = None,
    settings: RasterSettings | None = None,
    smallest: int = 1,
) -> RasterResult:
    """Labels of a raster of any size, in memory that does not grow with it.

    The model sees square tiles, each as it would see a photograph. Their scores go over into each
    other where tiles overlap, and are decided after that, so tiles leave no seams. Tiles without
    data are not encoded.

    Args:
        segmenter: is asked.
        path: a GeoTIFF, or any other raster or picture that GDAL reads, a ``.vrt`` list too.
        words: as in :meth:`~ovseg.apis.segmenter.OpenVocabSegmenter.segment`.
        folder: of the files, made if missing; they are called after the raster:

            =========  ========================  ================================================
            kind       file                      content
            =========  ========================  ================================================
            labels     ``STEM_labels.tif``       class indices, with coordinates; always written
            overlay    ``STEM_overlay.png``      the picture with its legend, 2048 pixels at most
            json       ``STEM.json``             areas and mean scores
            gpkg       ``STEM_labels.gpkg``      polygons, in the raster's coordinates
            geojson    ``STEM_labels.geojson``   polygons, in longitude and latitude
            =========  ========================  ================================================

        what: kinds of files beside the labels.
        background: as in ``segment``.
        threshold: as in ``segment``.
        settings: tiles, bands, memory.
        smallest: pixels of the smallest polygon that is written.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is no raster, has no data, words cannot be read, a library or memory is
            missing, or a file cannot be written; also words with a rule about the image as a
            whole, which tiles do not know.

    Warns:
        Notice: the model would refine its labels on whole images, which is left out; bands are
            stretched to 8 bits; the file says how it is turned or placed in a way that is left out;
            or its coordinates are not true to areas.
    """
    settings = RasterSettings() if settings is None else settings
    vocabulary, classifier = segmenter.question(words, background, threshold)
    if vocabulary.rejection.gates_images:
        raise UserError(
            'These words have a rule about the image as a whole (min_area or presence), which '
            'tiles of a raster do not know: take words without it.'
        )
    paths = file_paths(folder, stem_of(str(path)), RASTER_ENDS, {'labels', *what})
    check_targets(paths.values(), str(path))
    with opened_raster(path, settings) as raster:
        if segmenter.model.moves_pixels:
            notify(
                f'{segmenter.name} refines the labels of a photograph as a whole; on rasters this '
                'is left out, and labels are those of its scores.'
            )
        if 'geojson' in paths:
            check_is_on_earth(raster)
        run = _Run(segmenter, raster, vocabulary, classifier, settings)
        tags = {'model': segmenter.name, 'ovseg_version': __version__}
        with label_file(paths['labels'], raster, vocabulary.names, vocabulary.palette, tags) as out:
            run.write(out)
            if not run.counts.sum():
                raise UserError(f'{path} has no pixel with data.')
        result = run.result(str(path), paths)
        if 'overlay' in paths:
            write_picture(
                _overlay(raster, paths['labels'], vocabulary), paths['overlay'], 'overlay'
            )
    for kind in ('gpkg', 'geojson'):
        if kind in paths:
            names, other = vocabulary.names, vocabulary.background_index
            write_polygons(paths['labels'], paths[kind], names, other, smallest)
    if 'json' in paths:
        write_json(result.to_dict(), paths['json'])
    return result


@dataclass(frozen=True, eq=False)
class _Tile:
    """A tile between reading and the last decision about its pixels; without data it has no map."""

    rows: Span
    columns: Span
    valid: np.ndarray
    placed: PlacedMap | None


class _Run:
    """Encodes and decides a raster, tile row by tile row, from top to bottom in each swath."""

    def __init__(
        self,
        segmenter: OpenVocabSegmenter,
        raster: Raster,
        vocabulary: Vocabulary,
        classifier: Classifier,
        settings: RasterSettings,
    ) -> None:
        self._segmenter, self._raster = segmenter, raster
        self._vocabulary, self._classifier = vocabulary, classifier
        self._settings = settings
        height, width = raster.size
        self._rows = spans(height, settings.tile, settings.overlap)
        self._columns = spans(width, settings.tile, settings.overlap)
        self.counts = np.zeros(len(vocabulary), np.int64)
        self._sums = np.zeros(len(vocabulary), np.float64)

    def write(self, out: LabelFile) -> None:
        """Decides all of it and writes the labels.

        Args:
            out: receives them.
        """
        swaths = list(self._swaths())
        steps = (step for left, right in swaths for step in self._swath(left, right, out))
        for _ in with_progress(steps, len(swaths) * len(self._rows), 'tile row'):
            pass

    def result(self, source: str, paths: dict[str, Path]) -> RasterResult:
        """What was found.

        Args:
            source: the raster's path.
            paths: the files written.
        """
        total = int(self.counts.sum())
        rule = self._segmenter.model.rule(self._classifier)
        areas = [
            ClassArea(
                index,
                self._vocabulary.names[index],
                int(self.counts[index]),
                float(self.counts[index] / total),
                None if index == rule.wordless else float(self._sums[index] / self.counts[index]),
            )
            for index in np.argsort(-self.counts, kind='stable').tolist()
            if self.counts[index]
        ]
        crs = self._raster.crs
        on_ground = pixel_area(self._raster)
        return RasterResult(
            source=source,
            model=self._segmenter.name,
            size=self._raster.size,
            names=tuple(self._vocabulary.names),
            palette=tuple(self._vocabulary.palette),
            background_index=self._vocabulary.background_index,
            areas=tuple(areas),
            valid_pixels=total,
            crs='' if crs is None else crs.to_string(),
            pixel_area=on_ground,
            unit='' if on_ground is None else crs.linear_units,
            paths=paths,
        )

    def _swaths(self) -> Iterator[tuple[int, int]]:
        """``(left, right)`` of parts from top to bottom whose tiles fit into the memory."""
        height, width = self._raster.size
        step = self._settings.tile - self._settings.overlap
        row, column = self._rows[0], self._columns[0]
        (first,) = self._tiles(row, [column], even_if_empty=True)
        bytes_a_tile = tensor_bytes(first.placed) + first.valid.nbytes
        rows_at_once = -(-(row.length + BLOCK) // step) + 1
        bytes_a_column = (
            rows_at_once * bytes_a_tile / step + min(height, step + BLOCK) * _BYTES_A_PIXEL
        )
        columns = MemoryBudget(self._settings.megabytes).share(_TILES).at_once(bytes_a_column)
        # Each swath also has the tiles at its sides, a step each.
        side = max(1, (columns - 2 * step) // BLOCK) * BLOCK
        for left in range(0, width, side):
            yield left, min(left + side, width)

    def _swath(self, left: int, right: int, out: LabelFile) -> Iterator[None]:
        columns = [span for span in self._columns if span.meets(left, right)]
        height = self._raster.size[0]
        alive: list[_Tile] = []
        done = 0
        for rows, following in zip(self._rows, [*self._rows[1:], None], strict=True):
            alive += self._tiles(rows, columns)
            ready = height if following is None else following.start // BLOCK * BLOCK
            if ready > done:
                self._decide(alive, (done, left, ready, right), out)
                done = ready
                alive = [tile for tile in alive if tile.rows.stop > done]
            yield

    def _tiles(
        self, rows: Span, columns: Sequence[Span], even_if_empty: bool = False
    ) -> list[_Tile]:
        """A row of tiles, encoded and scored, as many at once as the segmenter says."""
        tiles: list[_Tile] = []
        some: list[tuple[Span, np.ndarray, np.ndarray]] = []
        for span in columns:
            pixels, valid = self._raster.read(rows.start, span.start, rows.stop, span.stop)
            if not valid.any() and not even_if_empty:
                tiles.append(_Tile(rows, span, valid, None))
                continue
            some.append((span, pixels, valid))
            if len(some) == self._segmenter.batch_size:
                tiles += self._scored(rows, some)
                some = []
        return tiles + (self._scored(rows, some) if some else [])

    def _scored(
        self, rows: Span, some: Sequence[tuple[Span, np.ndarray, np.ndarray]]
    ) -> list[_Tile]:
        segmenter = self._segmenter
        encoded = segmenter.encode([pixels for _, pixels, _ in some])
        tiles = []
        for (span, pixels, valid), each in zip(some, encoded, strict=True):
            self._classifier.check_model(each.encoding.text_space)
            scores = segmenter.memory.in_strips(
                partial(self._scores, each.encoding, pixels.shape[:2]),
                pixels.shape[:2],
                self._classifier.num_classes,
            )
            tiles.append(_Tile(rows, span, valid, PlacedMap(scores, rows, span)))
        return tiles

    def _scores(self, encoding: Any, size: tuple[int, int], budget: MemoryBudget) -> RowMap:
        model = self._segmenter.model
        return model.scores(encoding, self._classifier, size, self._limited(budget))

    def _limited(self, budget: MemoryBudget) -> MemoryBudget:
        allowed = MemoryBudget(self._settings.megabytes).share(_STRIPS)
        return min(budget, allowed, key=lambda each: each.megabytes)

    def _decide(
        self, alive: Sequence[_Tile], box: tuple[int, int, int, int], out: LabelFile
    ) -> None:
        top, left, bottom, right = box
        valid = np.zeros((bottom - top, right - left), bool)
        for tile in alive:
            first, last = max(top, tile.rows.start), min(bottom, tile.rows.stop)
            begin, end = max(left, tile.columns.start), min(right, tile.columns.stop)
            if first < last:
                valid[first - top : last - top, begin - left : end - left] = tile.valid[
                    first - tile.rows.start : last - tile.rows.start,
                    begin - tile.columns.start : end - tile.columns.start,
                ]
        maps = [tile.placed for tile in alive if tile.placed is not None]
        if not valid.any():
            out.write(top, left, np.zeros(valid.shape, np.int64), valid)
            return
        blended = BlendedTiles(maps, box)
        rule = self._segmenter.model.rule(self._classifier)
        decision: Decision = self._segmenter.memory.in_strips(
            lambda budget: decide(blended, rule, self._limited(budget), measure=True),
            valid.shape,
            self._classifier.num_classes,
        )
        self._count(decision, valid)
        out.write(top, left, decision.labels.cpu().numpy(), valid)

    def _count(self, decision: Decision, valid: np.ndarray) -> None:
        assert decision.own is not None  # it was measured
        where = torch.from_numpy(valid).to(decision.labels.device)
        sums, counts = class_sums(decision.labels[where], decision.own[where], len(self.counts))
        self._sums += sums.cpu().numpy()
        self.counts += counts.cpu().numpy()


def _overlay(raster: Raster, labels: Path, vocabulary: Vocabulary) -> np.ndarray:
    """(h, w, 3) uint8, the raster thinned out, with its classes painted over it."""
    height, width = raster.size
    shrink = max(1.0, max(height, width) / _OVERLAY_SIDE)
    shape = (max(1, round(height / shrink)), max(1, round(width / shrink)))
    pixels, _ = raster.read(0, 0, height, width, shape)
    rasterio = extra_module('rasterio', 'geo', 'Rasters')
    with rasterio.open(labels) as dataset:
        thinned = dataset.read(1, out_shape=shape)
    return draw_overlay(
        pixels, thinned, vocabulary.names, vocabulary.palette, vocabulary.background_index
    )
