"""ovseg knows its own results by a mark, whatever they are called."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ovseg.apis.results import KINDS_OF_FILES, SegmentationResult
from ovseg.apis.segments_result import SegmentsResult
from ovseg.regions.mask_segments import Segment
from ovseg.result_files import is_result

IMAGE = np.zeros((4, 6, 3), np.uint8)


@pytest.fixture(scope='module')
def results(tmp_path_factory):
    """All files that results write and that can hold a mark: YOLO's have no room for one."""
    folder = tmp_path_factory.mktemp('results')
    labels, scores = np.zeros((4, 6), np.int64), np.ones((1, 4, 6), np.float32)
    many = tuple(f'c{i}' for i in range(300))
    result = SegmentationResult(IMAGE, labels, ('sky',), ((1, 2, 3),), scores=scores)
    result.save(folder, 'a', set(KINDS_OF_FILES) - {'yolo', 'labelme'})
    result.save(folder, 'c', ['labelme'])
    SegmentationResult(IMAGE, labels, many, ((1, 2, 3),) * 300).save(folder, 'deep', ['labels'])
    segments = (Segment(1, 0, 0.9, 24, True, (0, 0, 6, 4)),)
    found = SegmentsResult(IMAGE, labels.astype(np.int32) + 1, segments, ('cat',), ((1, 2, 3),))
    found.save(folder, 'b', ('overlay', 'panoptic', 'instances'))
    return folder


def test_every_kind_of_result_is_known_by_any_name(results, tmp_path):
    files = sorted(results.iterdir())
    assert len(files) == 11
    for number, path in enumerate(files):
        other = tmp_path / f'{number}.bin'
        other.write_bytes(path.read_bytes())
        assert is_result(other), path.name


def test_files_of_others_are_none(tmp_path, results):
    Image.fromarray(IMAGE).save(tmp_path / 'a_overlay.png')
    Image.fromarray(IMAGE).save(tmp_path / 'a.jpg')
    (tmp_path / 'a.json').write_text('{"version": "5.0", "made_by": "ovseg"}')
    np.savez(tmp_path / 'a.npz', scores=IMAGE)
    (tmp_path / 'empty.png').write_bytes(b'')
    (tmp_path / 'cut.png').write_bytes((results / 'a_overlay.png').read_bytes()[:40])
    (tmp_path / 'cut.npz').write_bytes((results / 'a_scores.npz').read_bytes()[:40])
    (tmp_path / 'folder.png').mkdir()
    for path in (*tmp_path.iterdir(), tmp_path / 'nothing.png'):
        assert not is_result(path), path.name


def test_pictures_saved_again_lose_the_mark(results, tmp_path):
    """What a person painted over, in a program that keeps no text, is the person's."""
    with Image.open(results / 'a_overlay.png') as picture:
        picture.copy().convert('RGB').save(tmp_path / 'mine.png')
    assert not is_result(tmp_path / 'mine.png')
