"""Files for tools that read polygons without holes: YOLO and LabelMe."""

from __future__ import annotations

import base64
import io
import json

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from ovseg.apis.results import SegmentationResult
from ovseg.apis.segments_result import SegmentsResult
from ovseg.errors import UserError
from ovseg.regions.mask_segments import Segment
from ovseg.result_files import is_result

SIZE = (48, 64)
NAMES = ('cat', 'void', 'sofa')
PALETTE = ((255, 0, 0), (0, 0, 0), (0, 255, 0))
IMAGE = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope='module')
def labels():
    """A sofa with two holes: background, and one in which a cat sits; and one more cat."""
    labels = np.ones(SIZE, np.int32)
    labels[8:40, 6:50] = 2
    labels[12:20, 10:20] = 1
    labels[16:34, 28:46] = labels[42:47, 50:64] = 0
    return labels


@pytest.fixture
def result(labels, tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / 'photo.png')
    return SegmentationResult(
        IMAGE,
        labels,
        NAMES,
        PALETTE,
        1,
        np.array([0.5, np.nan, 0.75]),
        None,
        f'{tmp_path}/photo.png',
    )


@pytest.fixture
def things(labels, tmp_path):
    """The sofa, and both cats as one thing."""
    ids = np.array([2, 0, 1], np.int32)[labels]
    boxes = ((6, 8, 44, 32), (28, 16, 36, 31))
    found = tuple(
        Segment(number, label, 0.9, int((ids == number).sum()), True, box)
        for number, label, box in zip((1, 2), (2, 0), boxes, strict=True)
    )
    return SegmentsResult(
        IMAGE, ids, found, NAMES, PALETTE, 'instance', frozenset(), 1, f'{tmp_path}/photo.png'
    )


def yolo_rows(path):
    """Class and (N, 2) shares of each line, with what ultralytics checks of them."""
    rows = [line.split() for line in path.read_text().splitlines()]
    assert all(len(row) > 6 and len(row) % 2 for row in rows)
    found = [(int(row[0]), np.array(row[1:], float).reshape(-1, 2)) for row in rows]
    assert all(points.min() >= 0 and points.max() <= 1 for _, points in found)
    return found


def painted(points):
    """A polygon as ultralytics paints it: OpenCV's even-odd filling, which adds the outline."""
    mask = np.zeros(SIZE, np.uint8)
    cv2.fillPoly(mask, [np.int32(np.round(points))], 1)
    return mask.astype(bool)


def inner(mask):
    """A mask without the pixels at its rim."""
    return ndimage.binary_erosion(mask, np.ones((3, 3)))


def test_yolo_lines_are_connected_parts_with_classes_from_0_and_no_background(result, tmp_path):
    path = result.save(tmp_path / 'labels', what=['yolo'])['yolo']
    assert path == tmp_path / 'labels' / 'photo.txt'
    rows = yolo_rows(path)
    assert [index for index, _ in rows] == [1, 0, 0]
    mask = painted(rows[0][1] * SIZE[::-1])
    assert mask[inner(result.mask('sofa'))].all()
    # The holes are holes.
    assert not mask[inner(~result.mask('sofa'))].any()


def test_yolo_lines_of_segments_hold_all_parts_of_a_thing(things, tmp_path):
    rows = yolo_rows(things.save(tmp_path / 'labels', what=['yolo'])['yolo'])
    assert [index for index, _ in rows] == [1, 0]
    points = rows[1][1] * SIZE[::-1]
    # The box that ultralytics takes from the points is the thing's.
    ends = [points.min(axis=0), points.max(axis=0)]
    assert np.abs(np.array(ends) - [[28, 16], [64, 47]]).max() < 1e-4
    assert painted(points)[inner(things.mask(2))].all()


def test_yolo_file_of_an_image_without_objects_is_empty(result, tmp_path, labels):
    empty = SegmentationResult(IMAGE, np.ones_like(labels), NAMES, PALETTE, 1, source='a.jpg')
    assert empty.save(tmp_path / 'labels', what=['yolo'])['yolo'].read_bytes() == b''


def test_labelme_file_lies_beside_the_image_and_names_it(result, tmp_path):
    path = result.save(tmp_path, what=['labelme'])['labelme']
    assert path == tmp_path / 'photo.json' and is_result(path)
    content = json.loads(path.read_text())
    assert content['imagePath'] == 'photo.png' and content['imageData'] is None
    assert (content['imageHeight'], content['imageWidth']) == SIZE
    elsewhere = result.save(tmp_path / 'masks', what=['labelme'])['labelme']
    assert json.loads(elsewhere.read_text())['imagePath'] == '../photo.png'


def test_labelme_file_holds_an_image_that_has_no_file(result, tmp_path):
    nameless = SegmentationResult(IMAGE, result.labels, NAMES, PALETTE, 1)
    path = nameless.save(tmp_path, what=['labelme'])['labelme']
    content = json.loads(path.read_text())
    assert content['imagePath'] == 'image.png'
    with Image.open(io.BytesIO(base64.b64decode(content['imageData']))) as picture:
        assert (np.asarray(picture) == IMAGE).all()


def test_labelme_shapes_are_polygons_whose_holes_stay_open(result, things, tmp_path):
    shapes = json.loads(result.save(tmp_path, what=['labelme'])['labelme'].read_text())['shapes']
    assert [each['label'] for each in shapes] == ['sofa', 'cat', 'cat']
    assert [each['group_id'] for each in shapes] == [None, None, None]
    assert [each['score'] for each in shapes] == [0.75, 0.5, 0.5]
    canvas = Image.new('1', SIZE[::-1])
    ImageDraw.Draw(canvas).polygon([tuple(xy) for xy in shapes[0]['points']], outline=1, fill=1)
    sofa = result.mask('sofa')
    assert np.asarray(canvas)[inner(sofa)].all()
    assert not np.asarray(canvas)[inner(~sofa)].any()
    path = things.save(tmp_path / 'things', what=['labelme'])['labelme']
    grouped = json.loads(path.read_text())['shapes']
    assert [(each['label'], each['group_id']) for each in grouped] == [
        ('sofa', 1),
        ('cat', 2),
        ('cat', 2),
    ]
    for each in grouped + shapes:
        assert each['shape_type'] == 'polygon' and each['flags'] == {} and each['mask'] is None
        assert all(isinstance(number, float) for point in each['points'] for number in point)


def test_tolerance_says_how_many_points_there_are(result, tmp_path):
    rings = np.hypot(*(np.mgrid[: SIZE[0], : SIZE[1]] - 24)) < 20
    round_one = SegmentationResult(IMAGE, rings.astype(int), NAMES[::-1], PALETTE[::-1], None)
    counts = [
        len(yolo_rows(round_one.save(tmp_path, 'a', ['yolo'], tolerance)['yolo'])[0][1])
        for tolerance in (0, 1, 3)
    ]
    assert counts[0] > 2 * counts[1] > 2 * counts[2] > 12
    for kind in ('yolo', 'labelme'):
        with pytest.raises(UserError, match='tolerance must be a number'):
            round_one.save(tmp_path / 'new', 'a', [kind], -1)
    assert not (tmp_path / 'new').exists()


def test_two_kinds_of_one_name_are_not_saved_together(result, tmp_path):
    with pytest.raises(UserError, match="'json' and 'labelme' are files of one name"):
        result.save(tmp_path / 'new', what=['labelme', 'json'])
    assert not (tmp_path / 'new').exists()
