"""Files of a training that cannot be read are found before its first step."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from PIL import Image

from ovseg.datasets import ImageFolderDataset, LabelledFolderDataset, MaskCaptionPairs
from ovseg.datasets.pair_files import Pair, write_pairs
from ovseg.engine.file_check import FileCheckHook
from ovseg.engine.guarded_samples import guard_samples
from ovseg.engine.label_use import look_at_labels
from ovseg.errors import UserError

PIPELINE = [{'type': 'LoadImageFromFile'}, {'type': 'LoadSegLabels'}]


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('ovseg'):
        yield


@pytest.fixture
def folder(tmp_path):
    for name in ('images', 'labels'):
        (tmp_path / name).mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (60, 40, 3), dtype=np.uint8)
    for number in range(5):
        Image.fromarray(noise).save(tmp_path / 'images' / f'{number}.jpg')
        Image.fromarray(noise[..., 0] % 2).save(tmp_path / 'labels' / f'{number}.png')
    return tmp_path


def labelled(folder, pipeline=None):
    return LabelledFolderDataset(
        str(folder),
        {'img_path': 'images', 'seg_map_path': 'labels'},
        metainfo={'classes': ['sky', 'grass']},
        pipeline=pipeline or PIPELINE,
    )


def look(dataset, limit=0, validates=None, **settings):
    guard_samples(dataset, limit)
    runner = SimpleNamespace(
        train_dataloader=SimpleNamespace(dataset=dataset),
        val_loop=validates,
        val_dataloader=SimpleNamespace(dataset=validates),
    )
    FileCheckHook(**settings).before_train(runner)


def cut(path):
    path.write_bytes(path.read_bytes()[:-60])


def empty(path):
    path.write_bytes(b'')


def words(path):
    path.write_text('no picture')


def pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize('harm', [cut, empty, words, pipe])
def test_a_bad_picture_ends_it_with_its_name_and_the_way_out(harm, folder):
    dataset = labelled(folder)
    look(dataset)
    harm(folder / 'images' / '3.jpg')
    with pytest.raises(UserError, match=r'3\.jpg.*train_dataloader\.max_bad_samples=N'):
        look(dataset)
    look(dataset, limit=1)


@pytest.mark.parametrize('harm', [cut, empty, pipe])
def test_a_bad_label_map_too(harm, folder):
    dataset = labelled(folder)
    harm(folder / 'labels' / '2.png')
    with pytest.raises(UserError, match=r'2\.png'):
        look(dataset)


def test_more_than_may_be_passed_over(folder):
    dataset = labelled(folder)
    for number in (1, 4):
        cut(folder / 'images' / f'{number}.jpg')
    with pytest.raises(UserError, match=r'2 samples cannot be read, 1 may be passed over'):
        look(dataset, limit=1)


def test_a_picture_of_a_validation_is_found_too(folder):
    training, validation = (
        ImageFolderDataset(str(folder / 'images'), pipeline=PIPELINE[:1], indices=[number])
        for number in (0, 1)
    )
    cut(folder / 'images' / '1.jpg')
    with pytest.raises(UserError, match=r'1\.jpg'):
        look(training, validates=validation)


def test_looking_takes_no_longer_than_it_may(folder, monkeypatch):
    cut(folder / 'images' / '3.jpg')
    now = iter(range(100))
    monkeypatch.setattr(time, 'monotonic', lambda: next(now))
    look(labelled(folder), seconds=3)


def test_pairs_are_looked_at_and_passed_over(folder):
    rows = [Pair(f'images/{n}.jpg', 'cat', f'labels/{n}.png') for n in range(5)]
    write_pairs(folder / 'pairs.csv', rows)
    (folder / 'images' / '1.jpg').write_bytes(b'')
    pairs = MaskCaptionPairs(folder / 'pairs.csv', size=8)
    with pytest.raises(UserError, match=r'1\.jpg is an empty file'):
        look(pairs)
    look(pairs, limit=1)
    assert look_at_labels(pairs, 10) is None
    assert pairs[1]['inputs'].shape == (3, 8, 8)
    cut(folder / 'labels' / '2.png')
    with pytest.raises(UserError, match='1 samples were passed over and one more cannot be read'):
        _ = pairs[2]


@pytest.mark.parametrize('size', [(1, 3000), (3000, 1)])
def test_a_picture_of_which_a_step_leaves_nothing_is_named(size, folder):
    """A resize without a row, a flip without a column: OpenCV and torch name no file."""
    Image.new('RGB', size[::-1]).save(folder / 'images' / '2.jpg')
    Image.new('L', size[::-1]).save(folder / 'labels' / '2.png')
    resize = dict(type='RandomResize', scale=(384, 192), ratio_range=(1, 1), keep_ratio=True)
    steps = [resize, dict(type='RandomFlip', prob=1.0), dict(type='PackSegInputs')]
    for limit in (0, 1):
        dataset = labelled(folder, [*PIPELINE[:2], *steps])
        guard_samples(dataset, limit)
        assert dataset.prepare_data(1) is not None
        if limit:
            assert dataset.prepare_data(2) is None
            continue
        wanted = rf'2\.jpg is too thin, {size[0]} x {size[1]} pixels.*max_bad_samples=N'
        with pytest.raises(UserError, match=wanted):
            dataset.prepare_data(2)
