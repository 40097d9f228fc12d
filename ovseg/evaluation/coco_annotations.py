"""Annotations of single things from a file in COCO's format, image by image."""

from __future__ import annotations

import io
import os
from collections import defaultdict
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

from pycocotools.coco import COCO

from ovseg.datasets.coco_files import check_coco
from ovseg.errors import UserError, nearest
from ovseg.input_files import read_json


class CocoAnnotations:
    """Masks of an annotation file under the labels of a data set.

    Images are found by the names of their files, categories by their names.

    Args:
        path: JSON with ``images``, ``annotations`` and ``categories``.
        classes: of the data set, in label order.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: a file that is not in COCO's format, names no class of the data set, or has two
            images of one name.
    """

    def __init__(self, path: str, classes: Sequence[str]) -> None:
        check_coco(path)
        self._path = path
        self._coco = COCO()
        self._coco.dataset = read_json(path)
        with redirect_stdout(io.StringIO()):  # it tells every step
            self._coco.createIndex()
        self._label = {
            category['id']: classes.index(category['name'])
            for category in self._coco.dataset['categories']
            if category['name'] in classes
        }
        if not self._label:
            first = str(self._coco.dataset['categories'][0]['name'])
            raise UserError(
                f'{path} has no category that the data set has, the first is {first!r}.'
                + nearest(first, classes)
            )
        self._image: dict[str, dict[str, Any]] = {}
        for image in self._coco.dataset['images']:
            name = os.path.basename(image['file_name'])
            if self._image.setdefault(name, image) is not image:
                raise UserError(f'{path} has two images of the name {name}')
        self._of_image: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
        for annotation in self._coco.dataset['annotations']:
            if annotation['category_id'] in self._label:
                self._of_image[annotation['image_id']].append(annotation)

    def of_image(self, path: str) -> tuple[tuple[int, int], list[dict[str, Any]]]:
        """(height, width) of an image, and its things.

        Args:
            path: of the image.

        Returns:
            Records with ``category_id`` (label + 1), ``iscrowd``, ``area`` as the file says, and
            ``segmentation`` in run lengths.

        Raises:
            UserError: the file has no such image.
        """
        image = self._image.get(os.path.basename(path))
        if image is None:
            raise UserError(f'{self._path} has no image {os.path.basename(path)}')
        records = []
        for annotation in self._of_image[image['id']]:
            lengths = self._coco.annToRLE(annotation)
            records.append(
                {
                    'category_id': self._label[annotation['category_id']] + 1,
                    'iscrowd': int(annotation.get('iscrowd', 0)),
                    'area': annotation['area'],
                    'segmentation': lengths,
                }
            )
        return (image['height'], image['width']), records
