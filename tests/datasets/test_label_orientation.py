from __future__ import annotations

import logging

import numpy as np
import pytest
from mmengine.logging import MMLogger
from PIL import Image, ImageOps

import ovseg.datasets.label_orientation as rule
from ovseg.datasets import ADE20K150Dataset, LabelledFolderDataset
from ovseg.datasets.preparation import Item, Recipe, prepare
from ovseg.errors import UserError
from ovseg.images.loader import ImageLoader
from ovseg.images.orientation import upright, upright_size

PIPELINE = [dict(type=kind) for kind in ('LoadImageFromFile', 'LoadSegLabels')]
COLORS = np.array([[250, 20, 20], [20, 250, 20], [20, 20, 250]], np.uint8)
# As stored, in blocks of 16 pixels: JPEG keeps their colours apart.
LABELS = np.kron(np.array([[0, 1, 2], [1, 1, 0]], np.uint8), np.ones((16, 16), np.uint8))


def picture(path, orientation, **settings):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(COLORS[LABELS]).save(path, exif=exif, **settings)


def folder(root, orientation, labels, name='a.jpg'):
    picture(root / 'images' / name, orientation)
    (root / 'labels').mkdir(exist_ok=True)
    Image.fromarray(labels).save(root / 'labels' / 'a.png')
    return root


def build(root, **settings):
    prefix = dict(img_path='images', seg_map_path='labels')
    classes = dict(classes=['red', 'green', 'blue'])
    return LabelledFolderDataset(str(root), prefix, metainfo=classes, pipeline=PIPELINE, **settings)


def colours_of(image):
    """The nearest class of each pixel of an (H, W, 3) BGR image."""
    rgb = image[..., ::-1].astype(int)[:, :, None]
    return np.abs(rgb - COLORS.astype(int)).sum(-1).argmin(-1)


@pytest.fixture(autouse=True)
def _nothing_was_said(monkeypatch):
    monkeypatch.setattr(rule, '_said', False)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('drawn_on', ['upright', 'stored'])
@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.webp', 'a.tif'])
def test_labels_lie_on_what_they_were_drawn_on(tmp_path, orientation, drawn_on, name):
    labels = LABELS if drawn_on == 'stored' else upright(LABELS, orientation)
    sample = build(folder(tmp_path, orientation, labels, name), labels_drawn_on=drawn_on)[0]
    assert (colours_of(sample['img']) == sample['gt_seg_map']).mean() > 0.95


@pytest.mark.parametrize('orientation', range(1, 9))
def test_upright_is_what_pillow_makes(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(LABELS)
    stored.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(stored))
    assert np.array_equal(upright(LABELS, orientation), expected)
    assert upright_size(LABELS.shape, orientation) == expected.shape


def test_labels_of_either_kind_are_noticed_once(tmp_path, caplog):
    data = build(folder(tmp_path, 3, LABELS))
    logger = MMLogger.get_current_instance()
    with caplog.at_level(logging.WARNING):
        logger.addHandler(caplog.handler)
        data[0], data[0]
        logger.removeHandler(caplog.handler)
    said = [r.getMessage() for r in caplog.records if 'EXIF orientation 3' in r.getMessage()]
    assert len(set(said)) == 1 and "labels_drawn_on='stored'" in said[0]


@pytest.mark.parametrize(
    'orientation, drawn_on, message',
    [
        (6, 'upright', "EXIF orientation 6 turned it upright: turn the label map, or.*'stored'"),
        (8, 'upright', 'EXIF orientation 8'),
    ],
)
def test_loader_and_preparation_say_the_same(tmp_path, capsys, orientation, drawn_on, message):
    root = folder(tmp_path, orientation, LABELS)
    with pytest.raises(UserError, match=message) as error:
        build(root, labels_drawn_on=drawn_on)[0]
    image, labels = root / 'images' / 'a.jpg', root / 'labels' / 'a.png'
    assert prepare(Recipe('Mine', ADE20K150Dataset, 1), [Item(image, labels)]) == 2
    assert str(error.value) in capsys.readouterr().err


def test_preparation_notes_labels_of_either_kind(tmp_path, capsys):
    root = folder(tmp_path, 3, LABELS)
    item = Item(root / 'images' / 'a.jpg', root / 'labels' / 'a.png')
    assert prepare(Recipe('Mine', ADE20K150Dataset, 1), [item]) == 0
    assert 'note: 1 images have an EXIF orientation' in capsys.readouterr().out


def test_maps_of_upright_pictures_are_no_maps_of_stored_pixels(tmp_path):
    data = build(folder(tmp_path, 6, upright(LABELS, 6)), labels_drawn_on='stored')
    with pytest.raises(UserError, match='as stored .its EXIF orientation is 6.: labels_drawn_on'):
        data[0]
    with pytest.raises(UserError, match="labels_drawn_on is 'upright' or 'stored', got 'turned'"):
        build(tmp_path, labels_drawn_on='turned')


def test_files_that_opencv_does_not_read_are_read(tmp_path):
    for name in ('a.gif', 'b.tga'):
        Image.fromarray(COLORS[LABELS]).save(tmp_path / name)
        loaded = ImageLoader().transform({'img_path': str(tmp_path / name)})
        assert np.array_equal(colours_of(loaded['img']), LABELS)
