"""Predicted segments as files of COCO's panoptic format, for panopticapi and test servers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovseg.files import written_whole

if TYPE_CHECKING:
    from ovseg.regions.mask_segments import Segment

FILE_NAME = 'panoptic.json'


class PanopticRecords:
    """Writes records with the category ids of a data set.

    Args:
        meta: of the data set: ``classes``, ``thing_classes`` and, where its files count otherwise
            than from 1, ``category_ids``, one a class.
    """

    def __init__(self, meta: Mapping[str, Any]) -> None:
        self._classes = tuple(meta.get('classes') or ())
        self._things = frozenset(meta.get('thing_classes') or ())
        ids = meta.get('category_ids') or range(1, len(self._classes) + 1)
        self._category_ids = tuple(ids)

    def of_image(
        self,
        image_id: Any,
        file_name: str,
        source: str,
        size: tuple[int, ...],
        segments: Sequence[Segment],
    ) -> dict[str, Any]:
        """What the file says of an image.

        Args:
            image_id: as the data set has it.
            file_name: of the PNG file with the ids, below the folder.
            source: name of the image's file.
            size: (height, width) in pixels.
            segments: as found.

        Returns:
            ``image`` and ``annotation``.
        """
        return {
            'image': {
                'id': image_id,
                'file_name': source,
                'height': int(size[0]),
                'width': int(size[1]),
            },
            'annotation': {
                'image_id': image_id,
                'file_name': file_name,
                'segments_info': [
                    segment.coco_record(self._category_ids[segment.label]) for segment in segments
                ],
            },
        }

    def write(self, records: Sequence[Mapping[str, Any]], folder: str | Path) -> Path:
        """Write ``panoptic.json``, whole or not at all, in the place of one that is there.

        Args:
            records: of :meth:`of_image`.
            folder: with the PNG files.
        """
        content = {
            'images': [record['image'] for record in records],
            'annotations': [record['annotation'] for record in records],
            'categories': [
                {'id': number, 'name': name, 'isthing': int(name in self._things)}
                for number, name in zip(self._category_ids, self._classes, strict=True)
            ],
        }
        path = Path(folder) / FILE_NAME
        with written_whole(path) as temporary:
            temporary.write_text(json.dumps(content, ensure_ascii=False), encoding='utf-8')
        return path
