"""Results as other libraries have them: supervision, pandas, transformers, GeoJSON."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import shapely
from PIL import Image

from ovseg.apis.results import SegmentationResult
from ovseg.apis.segments_result import SegmentsResult
from ovseg.errors import UserError
from ovseg.regions.mask_segments import Segment

SIZE = (8, 10)
NAMES = ('background', 'cat', 'sofa')
PALETTE = ((0, 0, 0), (255, 0, 0), (0, 255, 0))
IMAGE = np.arange(240, dtype=np.uint8).reshape(*SIZE, 3)


def classes(**changed) -> SegmentationResult:
    """A sofa with a hole of background in which a cat sits, and a cat that touches at a corner."""
    labels = np.zeros(SIZE, np.int32)
    labels[1:7, 1:8] = 2
    labels[2:6, 2:7] = 0
    labels[3:5, 3:5] = labels[0, 8:10] = 1
    fields = {
        'image': IMAGE,
        'labels': labels,
        'names': NAMES,
        'palette': PALETTE,
        'background_index': 0,
        'mean_scores': np.array([np.nan, 0.25, 0.75]),
        'source': 'photo.jpg',
    }
    return SegmentationResult(**{**fields, **changed})


def segments(**changed) -> SegmentsResult:
    """The same; the cats are two parts of one segment."""
    labels = classes().labels
    fields = {
        'image': IMAGE,
        'ids': np.array([0, 2, 1], np.int32)[labels],
        'segments': (
            Segment(1, 2, 0.95, int((labels == 2).sum()), False, (1, 1, 7, 6)),
            Segment(2, 1, 0.9, int((labels == 1).sum()), True, (3, 0, 7, 5)),
        ),
        'names': NAMES,
        'palette': PALETTE,
        'stuff': frozenset({2}),
        'background_index': 0,
        'source': 'photo.jpg',
    }
    return SegmentsResult(**{**fields, **changed})


def nothing():
    """A result of each kind without any mask."""
    empty = np.zeros(SIZE, np.int32)
    return classes(labels=empty), segments(ids=empty, segments=())


def covered(geometry):
    """The pixels whose middle a geometry holds."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return shapely.contains_xy(shapely.geometry.shape(geometry), columns + 0.5, rows + 0.5)


def test_polygons_cover_their_masks():
    result, found = classes(), segments()
    by_name, by_id = result.to_polygons(), found.to_polygons()
    assert list(by_name) == ['sofa', 'cat'] and list(by_id) == [1, 2]
    for name in by_name:
        assert (covered(by_name[name]) == result.mask(name)).all()
    for number in by_id:
        assert (covered(by_id[number]) == found.mask(number)).all()
    assert by_name['sofa']['type'] == 'Polygon' and len(by_name['sofa']['coordinates']) == 2
    assert by_name['cat']['type'] == 'MultiPolygon'
    # A hole that is larger than the tolerance stays one.
    assert len(result.to_polygons(tolerance=2)['sofa']['coordinates']) == 2


def test_geojson_is_a_feature_a_mask():
    first, second = classes().to_geojson()['features']
    assert json.loads(json.dumps(first)) == first
    assert first['type'] == 'Feature' and 'id' not in first
    assert first['properties'] == {'name': 'sofa', 'index': 2, 'pixels': 22, 'score': 0.75}
    assert second['geometry'] == classes().to_polygons()['cat']
    assert [each['id'] for each in segments().to_geojson()['features']] == [1, 2]
    assert nothing()[0].to_geojson() == {'type': 'FeatureCollection', 'features': []}
    with pytest.raises(UserError, match='tolerance must be a number'):
        classes().to_geojson(-1)


def test_transformers_list_is_score_label_and_a_picture_of_the_mask():
    for result in (classes(), segments()):
        first, second = result.to_transformers()
        assert [first['label'], second['label']] == ['sofa', 'cat']
        assert [set(first), first['score']] == [
            {'score', 'label', 'mask'},
            result.named_masks()[0].score,
        ]
        mask = second['mask']
        assert isinstance(mask, Image.Image) and mask.mode == 'L' and mask.size == SIZE[::-1]
        assert (np.asarray(mask) == 255 * (classes().labels == 1)).all()
    assert classes(mean_scores=None).to_transformers()[0]['score'] is None


def test_pandas_table_is_a_row_a_class_or_segment():
    pandas = pytest.importorskip('pandas', reason='needs ovseg[pandas]')
    table = classes().to_pandas()
    assert list(table.columns) == [
        *('image', 'index', 'name', 'background', 'pixels', 'share', 'score')
    ]
    assert table['name'].tolist() == ['background', 'sofa', 'cat']
    assert table['background'].tolist() == [True, False, False]
    assert table['share'].sum() == 1 and table['pixels'].sum() == 80
    assert np.isnan(table['score'][0]) and table['score'][1] == 0.75
    rows = segments().to_pandas()
    assert rows.loc[1, ['id', 'index', 'name', 'thing']].tolist() == [2, 1, 'cat', True]
    assert rows.loc[1, ['x', 'y', 'width', 'height']].tolist() == [3, 0, 7, 5]
    for some, none in zip((classes(), segments()), nothing(), strict=True):
        some, none = some.to_pandas(), none.to_pandas()
        assert (some.dtypes == none.dtypes).all()
        assert (pandas.concat([none, some]).dtypes == some.dtypes).all()
    assert len(segments(ids=np.zeros(SIZE, np.int32), segments=()).to_pandas()) == 0


def test_supervision_detections_hold_masks_boxes_classes_and_scores():
    pytest.importorskip('supervision', reason='needs ovseg[supervision]')
    for result in (classes(), segments()):
        found = result.to_supervision()
        assert found.class_id.tolist() == [2, 1]
        assert found.data['class_name'].tolist() == ['sofa', 'cat']
        assert found.confidence.tolist() == pytest.approx(
            [each.score for each in result.named_masks()]
        )
        assert (found.mask == (classes().labels == np.array([[[2]], [[1]]]))).all()
        assert found.xyxy.tolist() == [[1, 1, 8, 7], [3, 0, 10, 5]]
        assert found.area.tolist() == [22, 6]
        cats = found[found.data['class_name'] == 'cat']
        assert cats.class_id.tolist() == [1] and cats.xyxy.tolist() == [[3, 0, 10, 5]]
    assert found.data['segment_id'].tolist() == [1, 2]
    assert classes(mean_scores=None).to_supervision().confidence is None


def test_supervision_draws_what_it_is_given():
    sv = pytest.importorskip('supervision', reason='needs ovseg[supervision]')
    found = classes().to_supervision()
    painted = sv.MaskAnnotator().annotate(np.zeros((*SIZE, 3), np.uint8), found)
    assert ((painted > 0).any(axis=2) == (classes().labels > 0)).all()
    merged = sv.Detections.merge([found, *(each.to_supervision() for each in nothing())])
    assert len(merged) == 2 and merged.data['class_name'].tolist() == ['sofa', 'cat']
    for none in nothing():
        assert len(none.to_supervision()) == 0
        assert none.to_supervision().mask.shape == (0, *SIZE)


@pytest.mark.parametrize('library', ['supervision', 'pandas'])
def test_a_missing_library_is_said_with_the_line_that_installs_it(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    for result in (classes(), segments()):
        with pytest.raises(UserError, match=rf'missing: pip install "ovseg\[{library}\]"\.$'):
            getattr(result, f'to_{library}')()
