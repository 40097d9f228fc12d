"""Rasters in tiles: the labels of the whole, its coordinates, and no seams."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scripts import ROOT

rasterio = pytest.importorskip('rasterio', reason="pip install 'ovseg[geo]'")
pyogrio = pytest.importorskip('pyogrio', reason="pip install 'ovseg[geo]'")
import shapely  # noqa: E402
from rasterio.control import GroundControlPoint  # noqa: E402
from rasterio.features import rasterize  # noqa: E402
from rasterio.transform import from_origin  # noqa: E402
from rasterio.warp import transform  # noqa: E402

from ovseg import OpenVocabSegmenter  # noqa: E402
from ovseg.cli.command import main  # noqa: E402
from ovseg.errors import Notice, UserError, notices_heard  # noqa: E402
from ovseg.images.resize import ResizeRule  # noqa: E402
from ovseg.rasters import RasterSettings, segment_raster  # noqa: E402
from ovseg.rasters.ground import pixel_area  # noqa: E402
from ovseg.rasters.label_file import BLOCK  # noqa: E402
from ovseg.rasters.polygons import write_polygons  # noqa: E402
from ovseg.rasters.raster_file import opened_raster  # noqa: E402
from ovseg.scenes.draw import draw, whole  # noqa: E402
from ovseg.scenes.world import sample_scene  # noqa: E402

sys.path.insert(0, str(ROOT / 'tests' / 'tools'))
from tiny_world import COLORS, write_config  # noqa: E402

WORDS = 'red; green; blue'
SIZE = (300, 700)
TRANSFORM = from_origin(500000, 5200000, 0.5, 0.5)
SMALL = RasterSettings(tile=64, overlap=16)


@pytest.fixture(scope='module')
def pixelwise(tmp_path_factory):
    """A segmenter that looks at each pixel alone: tiles can change nothing for it."""
    folder = tmp_path_factory.mktemp('pixelwise')
    return OpenVocabSegmenter(write_config(folder / 'c.py', folder, folder), device='cpu')


@pytest.fixture(scope='module')
def tiny():
    return OpenVocabSegmenter('maskclip-tiny', device='cpu')


@pytest.fixture(scope='module')
def picture():
    """Patches of noisy colours."""
    random = np.random.default_rng(0)
    patches = random.integers(0, 3, (SIZE[0] // 20, SIZE[1] // 20)).repeat(20, 0).repeat(20, 1)
    noisy = np.asarray(COLORS)[patches] + random.normal(0, 60, (*SIZE, 3))
    return noisy.clip(1, 255).astype(np.uint8)


pytestmark = pytest.mark.filterwarnings(
    'ignore::rasterio.errors.NotGeoreferencedWarning'  # of rasters that the tests write
)


def write(path, bands, **profile):
    """A raster of bands (n, H, W)."""
    count, height, width = bands.shape
    shape = {'count': count, 'height': height, 'width': width, 'dtype': bands.dtype.name}
    with rasterio.open(path, 'w', **{'driver': 'GTiff', **shape, **profile}) as file:
        file.write(bands)
    return path


def read(path):
    with rasterio.open(path) as file:
        return file.read(1)


def resize_nothing(segmenter, monkeypatch):
    monkeypatch.setattr(segmenter, 'loader', replace(segmenter.loader, rule=ResizeRule(None)))


def test_tiles_give_the_labels_of_the_whole_with_its_coordinates(
    pixelwise, picture, tmp_path, monkeypatch
):
    resize_nothing(pixelwise, monkeypatch)
    valid = np.ones(SIZE, bool)
    valid[:90, 300:] = valid[200:, :70] = False
    shown = np.where(valid[..., None], picture, 0)
    path = write(
        tmp_path / 'map.tif',
        shown.transpose(2, 0, 1),
        crs='EPSG:32633',
        transform=TRANSFORM,
        nodata=0,
    )
    expected = pixelwise.segment(shown, WORDS)
    # So little memory that the raster is cut into parts side by side, too.
    settings = RasterSettings(tile=64, overlap=16, megabytes=1)
    result = segment_raster(pixelwise, path, WORDS, folder=tmp_path / 'out', settings=settings)
    with rasterio.open(result.paths['labels']) as file:
        labels = file.read(1)
        assert (file.crs.to_epsg(), file.transform, file.nodata) == (32633, TRANSFORM, 255)
        assert file.tags()['class_1'] == 'green' and file.block_shapes == [(BLOCK, BLOCK)]
        assert file.colormap(1)[2][:3] == tuple(result.palette[2])
    assert (labels[valid] == expected.labels[valid]).all() and (labels[~valid] == 255).all()
    assert len(np.unique(labels)) == 4
    assert result.valid_pixels == valid.sum() and result.pixel_area == 0.25
    for area in result.areas:
        assert area.pixels == (labels == area.index).sum()
        assert area.share == pytest.approx(area.pixels / valid.sum())
    full = pixelwise.segment(shown, WORDS, scores=True).scores
    for area in result.areas:
        own = full[area.index][labels == area.index]
        assert area.score == pytest.approx(own.mean(), abs=1e-5)
    assert 'square metres' in result.table()
    told = json.loads(result.paths['json'].read_text())
    assert told['classes'][0]['name'] == result.areas[0].name and told['crs'] == 'EPSG:32633'
    assert Image.open(result.paths['overlay']).width == SIZE[1]


@pytest.mark.parametrize('kind', ['gpkg', 'geojson'])
def test_polygons_cover_the_pixels_of_their_classes(
    pixelwise, picture, tmp_path, monkeypatch, kind
):
    resize_nothing(pixelwise, monkeypatch)
    path = write(
        tmp_path / 'a.tif', picture.transpose(2, 0, 1), crs='EPSG:4326',
        transform=from_origin(8, 47, 1 / 64, 1 / 64),
    )  # fmt: skip
    result = segment_raster(
        pixelwise, path, WORDS, folder=tmp_path / 'out', what={kind}, settings=SMALL
    )
    file = result.paths[kind]
    if kind == 'gpkg':
        info, _, shapes, columns = pyogrio.raw.read(file)
        assert info['crs'] == 'EPSG:4326'
        names, indices, areas = columns
        geometries = shapely.from_wkb(shapes)
    else:
        features = json.loads(file.read_text())['features']
        facts = [feature['properties'] for feature in features]
        names, indices, areas = (
            [fact[key] for fact in facts] for key in ('class', 'index', 'pixels')
        )
        geometries = [shapely.geometry.shape(feature['geometry']) for feature in features]
    assert {*names} == {'red', 'green', 'blue'} and all(each.is_valid for each in geometries)
    with rasterio.open(result.paths['labels']) as labels:
        again = rasterize(
            zip(geometries, indices, strict=True), labels.shape, 7, transform=labels.transform
        )
        assert (again == labels.read(1)).all()
    assert sum(areas) == picture.shape[0] * picture.shape[1]
    assert sum(each.area for each in geometries) * 64**2 == pytest.approx(sum(areas))


def test_small_pieces_become_no_polygons(pixelwise, picture, tmp_path, monkeypatch):
    resize_nothing(pixelwise, monkeypatch)
    path = write(tmp_path / 'a.tif', picture.transpose(2, 0, 1))
    result = segment_raster(
        pixelwise, path, WORDS, folder=tmp_path, what={'geojson'}, settings=SMALL, smallest=40
    )
    features = json.loads(result.paths['geojson'].read_text())['features']
    assert features and min(feature['properties']['pixels'] for feature in features) >= 40


def test_tiles_leave_no_seams(tiny, tmp_path, monkeypatch):
    """Labels change at the edges of tiles about as often as elsewhere; cut hard, far more often."""
    side = 192
    rows = []
    for row in range(2):
        scenes = [sample_scene('val', 2 * row + column, 0, (side, side)) for column in range(2)]
        rows.append(np.concatenate([draw(scene, whole(scene)).image for scene in scenes], 1))
    mosaic = np.concatenate(rows)
    path = write(tmp_path / 'mosaic.tif', mosaic.transpose(2, 0, 1))
    words = 'sky; grass; water; red star; blue ball; yellow flower; pink heart'
    agreeing, changes = {}, {}
    with monkeypatch.context() as patched:
        resize_nothing(tiny, patched)
        expected = tiny.segment(mosaic, words).labels
    for overlap in (0, 80):
        settings = RasterSettings(tile=160, overlap=overlap)
        folder = tmp_path / str(overlap)
        result = segment_raster(tiny, path, words, folder=folder, what=(), settings=settings)
        labels = read(result.paths['labels'])
        agreeing[overlap] = (labels == expected).mean()
        change = labels[:, 1:] != labels[:, :-1]
        edges = [159, 319] if overlap == 0 else [79, 159, 239, 319]
        changes[overlap] = change[:, edges].mean() / change.mean()
    assert agreeing[80] > agreeing[0]
    assert agreeing[80] > 0.75
    assert changes[80] < 1.5 < changes[0]


def test_values_of_16_bits_are_stretched_and_bands_chosen(
    pixelwise, picture, tmp_path, monkeypatch
):
    resize_nothing(pixelwise, monkeypatch)
    deep = picture.astype(np.uint16).transpose(2, 0, 1) * 10 + 400
    bands = np.stack([deep[2], deep[1], deep[0], deep[0] * 0])
    path = write(tmp_path / 'deep.tif', bands)
    settings = RasterSettings(64, 16, bands=(3, 2, 1), value_range=(400, 2950))
    result = segment_raster(pixelwise, path, WORDS, folder=tmp_path, what=(), settings=settings)
    expected = pixelwise.segment(picture, WORDS).labels
    assert (read(result.paths['labels']) == expected).all()
    with pytest.warns(Notice, match=r'uint16.*bands 1: \d+ to \d+, 2: .* percentiles 2 to 98'):
        segment_raster(pixelwise, path, WORDS, folder=tmp_path, what=(), settings=SMALL)
    with pytest.raises(UserError, match='has the bands 1 to 4, but no 5'):
        wrong = RasterSettings(64, 16, bands=(5,))
        segment_raster(pixelwise, path, WORDS, folder=tmp_path, settings=wrong)


def test_floats_without_a_value_are_no_data(pixelwise, picture, tmp_path, monkeypatch):
    resize_nothing(pixelwise, monkeypatch)
    values = picture.astype(np.float32).transpose(2, 0, 1) / 255
    values[1, 40:50] = np.nan
    path = write(tmp_path / 'f.tif', values)
    settings = RasterSettings(64, 16, value_range=(0, 1))
    result = segment_raster(pixelwise, path, WORDS, folder=tmp_path, what=(), settings=settings)
    labels = read(result.paths['labels'])
    expected = pixelwise.segment(picture, WORDS).labels
    assert (labels[40:50] == 255).all() and (labels[50:] == expected[50:]).all()


def test_plain_pictures_are_rasters_too(pixelwise, picture, tmp_path, monkeypatch):
    resize_nothing(pixelwise, monkeypatch)
    Image.fromarray(picture).save(tmp_path / 'plain.png')
    few = Image.fromarray(picture).quantize(16)
    few.save(tmp_path / 'palette.png')
    for name, shown in (('plain.png', picture), ('palette.png', np.asarray(few.convert('RGB')))):
        result = segment_raster(
            pixelwise, tmp_path / name, WORDS, folder=tmp_path / 'o', what=(), settings=SMALL
        )
        assert result.crs == '' and result.pixel_area is None
        assert (read(result.paths['labels']) == pixelwise.segment(shown, WORDS).labels).all()


def test_what_is_no_raster_is_one_sentence(pixelwise, picture, tmp_path):
    text = tmp_path / 'a.tif'
    text.write_text('no raster')
    listed = tmp_path / 'b.tif'
    write(tmp_path / 'c.tif', picture.transpose(2, 0, 1))
    listed.write_text(
        '<VRTDataset rasterXSize="700" rasterYSize="300"><VRTRasterBand dataType="Byte" band="1">'
        '<SimpleSource><SourceFilename relativeToVRT="1">c.tif</SourceFilename></SimpleSource>'
        '</VRTRasterBand></VRTDataset>'
    )
    empty = write(tmp_path / 'd.tif', np.zeros((3, 20, 20), np.uint8), nodata=0)
    cut = tmp_path / 'e.tif'
    content = (tmp_path / 'c.tif').read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    for path, reason in (
        (text, 'cannot be read as a raster'),
        (listed, 'of the kind VRT'),
        (empty, 'no pixel with data'),
        (cut, 'damaged or cut off|cannot be read'),
    ):
        with pytest.raises(UserError, match=reason):
            segment_raster(pixelwise, path, WORDS, folder=tmp_path / 'o', settings=SMALL)
    assert not list((tmp_path / 'o').glob('*'))
    listed.rename(tmp_path / 'b.vrt')
    result = segment_raster(
        pixelwise, tmp_path / 'b.vrt', WORDS, folder=tmp_path / 'o', what=(), settings=SMALL
    )
    assert result.size == SIZE
    with pytest.raises(FileNotFoundError):
        segment_raster(pixelwise, tmp_path / 'none.tif', WORDS, folder=tmp_path / 'o')


@pytest.mark.parametrize(
    'settings, reason',
    [
        ({'tile': 16}, 'tile must be at least 32'),
        ({'tile': 64, 'overlap': 33}, r'half a tile \(32 pixels\)'),
        ({'bands': (1, 2)}, 'three .* or one'),
        ({'value_range': (5, 5)}, 'must go up'),
        ({'value_range': (0, float('inf'))}, 'must go up'),
        ({'megabytes': 0}, 'more than 0'),
    ],
)
def test_settings_out_of_range_are_told(settings, reason):
    with pytest.raises(UserError, match=reason):
        RasterSettings(**settings)


def test_a_rule_about_whole_images_is_refused(pixelwise, picture, tmp_path):
    from ovseg.vocabulary import Rejection, build_vocabulary

    words = build_vocabulary(WORDS).with_rejection(Rejection('background', 0.0, ('grey',)))
    words = words.with_rejection(replace(words.rejection, min_area=0.1))
    path = write(tmp_path / 'a.tif', picture.transpose(2, 0, 1))
    with pytest.raises(UserError, match='min_area'):
        segment_raster(pixelwise, path, words, folder=tmp_path)


def test_the_command_writes_maps_and_goes_over_its_own_only(tmp_path, capsys, picture):
    path = write(tmp_path / 'map.tif', picture.transpose(2, 0, 1), crs='EPSG:3857')
    words = ['raster', str(path), 'sky; grass', '--model', 'maskclip-tiny', '--tile', '256']
    words += ['--device', 'cpu', '--out-dir', str(tmp_path), '--save', 'json,gpkg,geojson']
    for _ in range(2):
        assert main(words) == 0
    shown = capsys.readouterr().out
    assert 'map.tif, 300 x 700: maskclip-tiny on cpu' in shown and 'map_labels.gpkg' in shown
    assert main([*words, '--json', '--save', 'labels']) == 0
    assert json.loads(capsys.readouterr().out)['files'] == {'labels': 'map_labels.tif'}
    for kind in ('tif', 'gpkg', 'geojson'):
        own = tmp_path / f'map_labels.{kind}'
        own.write_bytes(b'II*\0 of the user' if kind == 'tif' else b'{"of": "the user"}')
        assert main(words) == 2
        assert 'no result of ovseg, so it is not replaced' in capsys.readouterr().err
        own.unlink()
    assert main([*words, '--overlap', '200']) == 2
    assert main([*words, '--smallest', '0']) == 2
    assert main([*words, '--save', 'coco']) == 2


def test_without_its_library_one_sentence_says_what_to_install(
    pixelwise, picture, tmp_path, monkeypatch
):
    path = write(tmp_path / 'a.tif', picture.transpose(2, 0, 1))
    monkeypatch.setitem(sys.modules, 'rasterio', None)
    with pytest.raises(UserError, match=r'pip install "ovseg\[geo\]"'):
        segment_raster(pixelwise, path, WORDS, folder=Path(tmp_path))


def raster_of(path, bands, **settings):
    profile = {'count': len(bands), 'height': bands.shape[1], 'width': bands.shape[2]}
    with rasterio.open(path, 'w', driver='GTiff', dtype=bands.dtype, **profile, **settings) as file:
        file.write(bands)
    return path


def seen(path, **settings):
    """What the model sees of a raster, and what is said of it."""
    with notices_heard() as heard, opened_raster(path, RasterSettings(**settings)) as raster:
        return raster.read(0, 0, *raster.size)[0], heard


def test_values_of_few_bits_and_negatives_are_shown_as_they_are_meant(tmp_path):
    grey = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
    for bits in (1, 2, 4):
        most = 2**bits - 1
        values = grey.clip(0, most)
        path = raster_of(tmp_path / f'{bits}.tif', values, nbits=bits)
        np.testing.assert_array_equal(seen(path)[0][..., 0], values[0] * (255 // most))
    Image.fromarray(grey[0] > 7).save(tmp_path / 'bits.png')
    np.testing.assert_array_equal(seen(tmp_path / 'bits.png')[0][..., 1], (grey[0] > 7) * 255)
    path = raster_of(tmp_path / 'negative.tif', 10 * grey, photometric='MINISWHITE')
    np.testing.assert_array_equal(seen(path)[0][..., 2], 255 - 10 * grey[0])


def test_numbers_of_colours_may_have_16_bits(tmp_path):
    path = tmp_path / 'p.tif'
    raster_of(path, np.array([[[1, 299]]], np.uint16), photometric='PALETTE')
    with rasterio.open(path, 'r+') as file:
        file.write_colormap(1, {1: (9, 8, 7, 255), 299: (1, 2, 3, 255)})
    assert seen(path)[0].tolist() == [[[9, 8, 7], [1, 2, 3]]]


@pytest.mark.filterwarnings('ignore')
def test_how_a_file_is_turned_or_placed_by_points_is_said_to_be_left_out(tmp_path, picture):
    tags = Image.Exif()
    for name in ('a.jpg', 'a.tif'):
        tags[274] = 1
        Image.fromarray(picture).save(tmp_path / name, exif=tags)
        assert not seen(tmp_path / name)[1]
        tags[274] = 6
        Image.fromarray(picture).save(tmp_path / name, exif=tags)
        assert 'turned to be upright' in seen(tmp_path / name)[1][0]
    points = [GroundControlPoint(0, 0, 10, 50), GroundControlPoint(9, 0, 10, 49)]
    path = raster_of(tmp_path / 'points.tif', picture.transpose(2, 0, 1))
    with rasterio.open(path, 'r+') as file:
        file.gcps = ([*points, GroundControlPoint(0, 9, 11, 50)], rasterio.CRS.from_epsg(4326))
    assert 'control points' in seen(path)[1][0]


@pytest.mark.parametrize(
    ('crs', 'corner', 'times'),
    [
        ('EPSG:32633', (500000, 5200000), None),
        ('EPSG:32601', (170000, 0), None),  # over the date line
        ('EPSG:2263', (1000000, 200000), None),  # in feet
        ('LOCAL_CS["site",UNIT["metre",1]]', (0, 0), None),
        ('EPSG:3857', (1000000, 0), None),  # at the equator
        ('EPSG:3857', (1000000, 6446275.84), '2.4'),  # at 50 degrees north
    ],
)
def test_areas_are_told_where_the_coordinates_are_true_to_them(tmp_path, crs, corner, times):
    place = from_origin(*corner, 0.5, 0.5)
    path = raster_of(tmp_path / 'a.tif', np.ones((1, 9, 9), np.uint8), crs=crs, transform=place)
    with notices_heard() as heard, opened_raster(path, RasterSettings()) as raster:
        area = pixel_area(raster)
    if times is None:
        assert area == (None if 'LOCAL' in crs else 0.25) and not heard
    else:
        assert area is None and f'are {times}' in heard[0]


def test_coordinates_of_no_place_on_earth_are_refused_before_the_work(pixelwise, picture, tmp_path):
    site = {'crs': 'LOCAL_CS["site",UNIT["metre",1]]', 'transform': TRANSFORM}
    path = raster_of(tmp_path / 'site.tif', picture.transpose(2, 0, 1), **site)
    with pytest.raises(UserError, match='no place on the earth.*save gpkg'):
        segment_raster(pixelwise, path, WORDS, folder=tmp_path / 'out', what=['geojson'])
    assert not list((tmp_path / 'out').glob('*.tif'))
    done = segment_raster(pixelwise, path, WORDS, folder=tmp_path / 'out', what=['gpkg'])
    assert done.paths['gpkg'].stat().st_size > 0


def test_long_edges_are_bent_as_longitude_and_latitude_are(tmp_path):
    """The middle of a side of 20 km lies 9 m beside the chord between its ends."""
    place = from_origin(500000, 5600000, 10, 10)
    labels = raster_of(
        tmp_path / 'a.tif', np.zeros((1, 9, 2000), np.uint8), crs='EPSG:32633', transform=place
    )
    assert write_polygons(labels, tmp_path / 'a.geojson', ['field'], None, 1) == 1
    (found,) = json.loads((tmp_path / 'a.geojson').read_text())['features']
    area = shapely.geometry.shape(found['geometry'])
    (x,), (y,) = transform('EPSG:32633', 'EPSG:4326', [510000], [5600000])
    metre = 1 / 111_000
    assert area.exterior.distance(shapely.Point(x, y)) < 0.1 * metre
    assert len(area.exterior.coords) < 60
