"""Annotations and predictions in COCO's panoptic format, and what official tools say of them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ovseg.datasets.panoptic_files import read_panoptic_file
from ovseg.datasets.panoptic_loading import read_id_map
from ovseg.datasets.panoptic_truth import PanopticTruth, TrueSegment
from ovseg.regions.mask_segments import Segment, Segments

DATA = Path(__file__).parent / 'data' / 'panoptic'
OFFICIAL = json.loads((DATA / 'official.json').read_text())


def facts() -> dict:
    """What a data set of these files would say of itself."""
    categories = read_panoptic_file(DATA / 'truth.json').categories
    return {
        'classes': tuple(category.name for category in categories),
        'thing_classes': tuple(category.name for category in categories if category.is_thing),
        'category_ids': tuple(category.id for category in categories),
    }


@cache
def samples() -> list[dict]:
    """The images as metrics get them."""
    meta = facts()
    label = {number: index for index, number in enumerate(meta['category_ids'])}
    scores = {
        (entry['image_id'], segment['id']): (segment['score'], segment['bbox'])
        for entry in json.loads((DATA / 'found.json').read_text())['annotations']
        for segment in entry['segments_info']
    }
    made = []
    truth, found = (read_panoptic_file(DATA / f'{name}.json').images for name in ('truth', 'found'))
    for annotated, predicted in zip(truth, found, strict=True):
        segments = tuple(
            Segment(
                id=number,
                label=label[category],
                score=scores[predicted.id, number][0],
                area=area,
                is_thing=meta['classes'][label[category]] in meta['thing_classes'],
                box=tuple(scores[predicted.id, number][1]),
            )
            for number, category, area, _ in predicted.segments
        )
        ids = read_id_map(str(DATA / 'found' / predicted.map_name))
        made.append(
            {
                'img_path': annotated.file_name,
                'img_id': annotated.id,
                'pred_segments': Segments(torch.from_numpy(ids), segments),
                'panoptic_truth': PanopticTruth(
                    read_id_map(str(DATA / 'truth' / annotated.map_name)),
                    tuple(
                        TrueSegment(number, label[category], area, crowd == 1)
                        for number, category, area, crowd in annotated.segments
                    ),
                ),
            }
        )
    return made


def write_images(folder: Path) -> None:
    """Pictures that the annotation file names; their content does not matter."""
    folder.mkdir(exist_ok=True)
    for image in read_panoptic_file(DATA / 'truth.json').images:
        size = samples()[0]['panoptic_truth'].ids.shape
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(folder / image.file_name)
