"""What a segmentation gives back: labels with their words, as tables, pictures and files."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ovseg.apis.bridges.bridged import TOLERANCE, Bridged
from ovseg.apis.bridges.named_mask import NamedMask
from ovseg.apis.bridges.pandas_table import to_frame
from ovseg.apis.coco import IMAGE_ID, categories_of, category_of, file_info, image_record
from ovseg.apis.files import file_paths, stem_of, write_json, write_picture
from ovseg.apis.kinds import ENDS, KINDS_OF_FILES
from ovseg.apis.shown import ShownAsPicture
from ovseg.coco_masks import mask_record
from ovseg.errors import UnknownClass, UserError, nearest
from ovseg.files import written_whole
from ovseg.images.output_plan import check_targets
from ovseg.mask_polygons import check_tolerance, geometry
from ovseg.tables import text_table
from ovseg.visualization import class_shares, draw_overlay, save_label_png
from ovseg.visualization.legend import format_share

if TYPE_CHECKING:
    from pandas import DataFrame

    from ovseg.apis.asked import Asked
    from ovseg.apis.nearest_words import NearestWords

# KINDS_OF_FILES is here for callers of before.
__all__ = ['KINDS_OF_FILES', 'ClassArea', 'SegmentationResult']

# Contrast words that a table names.
_MOST_WORDS = 6


@dataclass(frozen=True)
class ClassArea:
    """One class's part of an image.

    Attributes:
        index: its label.
        name: its name in the vocabulary.
        pixels: how many pixels carry the label.
        share: ``pixels`` as part of the image, in [0, 1].
        score: mean probability of the class over these pixels, in [0, 1]; None if not measured, or
            for a background without words of its own.
    """

    index: int
    name: str
    pixels: int
    share: float
    score: float | None


@dataclass(frozen=True, eq=False)
class SegmentationResult(ShownAsPicture, Bridged):
    """Masks of one image, with the words that they stand for.

    Shown as the last line of a notebook cell, it is its overlay picture.

    Attributes:
        image: (H, W, 3) uint8 RGB, the image as it was read (upright).
        labels: (H, W) int32 class indices.
        names: one name a class, in label order.
        palette: one RGB colour a class.
        background_index: the class that means "none of these", or None.
        mean_scores: (K,) mean probability of each class over its own pixels, NaN where it has
            none; None if not measured.
        scores: (K, H, W) float32 probabilities of all classes, only when asked for.
        source: what the image is called (a path), '' if it has no name.
        model: which model made it.
        contrast: the words for "none of these" that won pixels, and how many each, most first; ()
            where none were asked for.
        asked: what :meth:`explain` asks again; a copy in another process has none.
    """

    image: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    background_index: int | None = None
    mean_scores: np.ndarray | None = None
    scores: np.ndarray | None = field(default=None, repr=False)
    source: str = ''
    model: str = ''
    contrast: tuple[tuple[str, int], ...] = ()
    asked: Asked | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.labels.shape != self.image.shape[:2]:
            raise ValueError(f'labels are {self.labels.shape}, the image is {self.image.shape}.')
        if len(self.names) != len(self.palette):
            raise ValueError(f'{len(self.names)} names, but {len(self.palette)} colours.')

    def __repr__(self) -> str:
        height, width = self.labels.shape
        present = ', '.join(f'{area.name} {format_share(area.share)}' for area in self.areas()[:4])
        return f'SegmentationResult({height} x {width}, {len(self.names)} classes: {present})'

    def __getstate__(self) -> dict[str, Any]:
        # A model does not travel along with its answers.
        return {**vars(self), 'asked': None}

    def explain(self, y: int, x: int) -> NearestWords:
        """Why a pixel has its label: nearest words, probabilities, margins, what rejected it.

        The image is encoded again unless its encoded form is still held by somebody
        (:meth:`OpenVocabSegmenter.encode`). For methods that move pixels after their scores were
        decided (Trident's and CorrCLIP's regions), ``moves`` is true and ``moved_from``
        says where the pixel came from.

        Args:
            y: row of the pixel, from the top.
            x: column of the pixel, from the left.

        Raises:
            UserError: a place outside of the image; a result that was read from a pickle.
        """
        if self.asked is None:
            raise UserError(
                'this result does not know its model any more (it was made by hand or comes from '
                'another process): segment the image again, or ask segmenter.nearest_words'
            )
        return self.asked.explain(y, x)

    def areas(self) -> list[ClassArea]:
        """The classes present, largest first."""
        return [
            ClassArea(
                index=index,
                name=self.names[index],
                pixels=round(share * self.labels.size),
                share=share,
                score=self._score(index),
            )
            for index, share in class_shares(self.labels, len(self.names))
        ]

    def _score(self, index: int) -> float | None:
        if self.mean_scores is None or np.isnan(self.mean_scores[index]):
            return None
        return float(self.mean_scores[index])

    def mask(self, name: str) -> np.ndarray:
        """(H, W) bool: where a class is.

        Raises:
            UnknownClass: the vocabulary has no class of that name; a UserError and a KeyError.
        """
        if name not in self.names:
            raise UnknownClass(
                f'No class is called {name!r}; there are {", ".join(self.names[:8])}'
                f'{"..." if len(self.names) > 8 else ""}.{nearest(name, self.names)}'
            )
        return self.labels == self.names.index(name)

    def masks(self) -> dict[str, np.ndarray]:
        """(H, W) bool masks of the classes present, by name, largest first."""
        return {area.name: self.labels == area.index for area in self.areas()}

    def table(self) -> str:
        """Class, area share and mean score of the classes present, as aligned text.

        A last line tells which contrast words won the pixels of the background.
        """
        rows = []
        for area in self.areas():
            name = area.name
            if area.index == self.background_index and name != 'background':
                name += ' (background)'
            score = '-' if area.score is None else f'{area.score:.3f}'
            rows.append((name, format_share(area.share), score))
        table = text_table(('class', 'area', 'score'), rows)
        if not self.contrast:
            return table
        most = [
            f'{format_share(pixels / self.labels.size)} {word}'
            for word, pixels in self.contrast[:_MOST_WORDS]
        ]
        more = ', ...' * (len(self.contrast) > _MOST_WORDS)
        return f'{table}\nnone of these: {", ".join(most)}{more}'

    def overlay(self, opacity: float = 0.5, legend: bool = True) -> np.ndarray:
        """The image with its classes painted over it, uint8 RGB (see ``draw_overlay``)."""
        return draw_overlay(
            self.image,
            self.labels,
            self.names,
            self.palette,
            self.background_index,
            opacity=opacity,
            legend=legend,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the image's name and size, and per class its area and score."""
        height, width = self.labels.shape
        return {
            'image': self.source,
            'model': self.model,
            'height': height,
            'width': width,
            'background_index': self.background_index,
            'vocabulary': list(self.names),
            'palette': [list(map(int, color)) for color in self.palette],
            'classes': [
                {
                    'index': area.index,
                    'name': area.name,
                    'pixels': area.pixels,
                    'share': area.share,
                    'score': area.score,
                }
                for area in self.areas()
            ],
            **({'contrast': dict(self.contrast)} if self.contrast else {}),
        }

    def to_coco(self) -> dict[str, Any]:
        """A COCO annotation file of one image: one run-length encoded mask a class present.

        Category ids are labels + 1, since COCO has no category 0. The background is left out.
        """
        return {
            'info': file_info(),
            'images': [image_record(self.source, self.labels.shape)],
            'categories': categories_of(self.names, self.background_index),
            'annotations': self.coco_annotations(),
        }

    def coco_annotations(self) -> list[dict[str, Any]]:
        """The annotations of :meth:`to_coco`."""
        annotations: list[dict[str, Any]] = []
        for area in self.areas():
            if area.index == self.background_index:
                continue
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': IMAGE_ID,
                    'category_id': category_of(area.index),
                    **mask_record(self.labels == area.index),
                    'iscrowd': 0,
                    **({} if area.score is None else {'score': area.score}),
                }
            )
        return annotations

    def named_masks(self) -> list[NamedMask]:
        """The masks of the classes present, largest first, without the background."""
        return [
            NamedMask(self.labels == area.index, area.index, area.name, area.score)
            for area in self.areas()
            if area.index != self.background_index
        ]

    def to_polygons(self, tolerance: float = 0.0) -> dict[str, dict[str, Any]]:
        """Outlines of the classes present, by name: ``Polygon`` or ``MultiPolygon`` of GeoJSON.

        Points are ``[x, y]`` of corners of pixels: the pixel in row r and column c is the square
        from (c, r) to (c + 1, r + 1), y down. Holes are holes, and pixels that touch at a corner
        alone are parts of their own. The background is left out.

        Args:
            tolerance: how far, in pixels, an outline may be from the true one to have fewer points;
                with 0 a polygon covers exactly the pixels of its class, with 1 slopes are lines.

        Raises:
            UserError: the tolerance is no number from 0 on.
        """
        return {each.name: geometry(each.polygons(tolerance)) for each in self.named_masks()}

    def to_pandas(self) -> DataFrame:
        """A row a class present, the background's too (``pip install "ovseg[pandas]"``).

        Columns: ``image``, ``index``, ``name``, ``background`` (bool), ``pixels``, ``share`` of the
        image in [0, 1], ``score`` in [0, 1] or NaN. Tables of several images join by
        ``pandas.concat``.

        Raises:
            UserError: pandas is missing.
        """
        types = {'image': 'str', 'index': 'int64', 'name': 'str', 'background': 'bool'}
        rows = [
            {'image': self.source, 'background': area.index == self.background_index, **vars(area)}
            for area in self.areas()
        ]
        return to_frame(rows, {**types, 'pixels': 'int64', 'share': 'float64', 'score': 'float64'})

    def save(
        self,
        folder: str | Path,
        stem: str | None = None,
        what: Collection[str] = ('labels', 'overlay', 'json'),
        tolerance: float = TOLERANCE,
    ) -> dict[str, Path]:
        """Write files; each appears whole or not at all.

        =========  ========================  ====================================================
        kind       file                      content
        =========  ========================  ====================================================
        labels     ``STEM_labels.png``       class indices; 8-bit with palette, 16-bit beyond 256
        overlay    ``STEM_overlay.png``      the picture with its legend
        scores     ``STEM_scores.npz``       ``scores`` (K, H, W) float16, ``names``
        json       ``STEM.json``             areas and mean scores
        coco       ``STEM_coco.json``        run-length encoded masks
        yolo       ``STEM.txt``              polygons as YOLO's segmentation takes them
        labelme    ``STEM.json``             polygons as LabelMe reads them
        =========  ========================  ====================================================

        Args:
            folder: made if missing.
            stem: how the files begin; by default the image's file name without its suffix.
            what: kinds of files; not ``json`` and ``labelme`` together.
            tolerance: of the polygons of ``yolo`` and ``labelme``, in pixels (see
                :meth:`to_polygons`).

        Returns:
            The paths written, by kind.

        Raises:
            UserError: a kind is unknown, scores are wanted but were not asked for when segmenting,
                the tolerance is no number from 0 on, a file would replace the image or a file
                beside it that ovseg did not write, or the folder cannot be written to.
        """
        check_tolerance(tolerance)
        paths = file_paths(folder, stem or stem_of(self.source), ENDS, what)
        if 'scores' in what and self.scores is None:
            raise UserError(
                'The scores of this result were not kept: segment with scores=True to save them.'
            )
        check_targets(paths.values(), self.source)
        for kind, path in paths.items():
            self._write(kind, path, tolerance)
        return paths

    def _write(self, kind: str, path: Path, tolerance: float) -> None:
        if kind == 'labels':
            save_label_png(self.labels, self.palette, path)
        elif kind == 'overlay':
            write_picture(self.overlay(), path, kind)
        elif kind == 'scores':
            assert self.scores is not None  # checked by `save`
            with written_whole(path) as temporary, temporary.open('wb') as file:
                np.savez_compressed(
                    file, scores=self.scores.astype(np.float16), names=np.array(self.names)
                )
        elif kind in ('json', 'coco'):
            write_json(self.to_dict() if kind == 'json' else self.to_coco(), path)
        else:
            self._write_annotations(kind, path, tolerance)
