"""One file for all images: COCO, panoptic and Parquet, after a first run and after a second."""

from __future__ import annotations

import json

import numpy as np
import pytest
from label_folders import fill, label, lines, save_scene
from PIL import Image
from pycocotools.coco import COCO

from ovseg.cli.set_records import SetRecords

WORDS = 'sky; grass; water'


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return fill(tmp_path)


def coco_of(path):
    """The file, and what pycocotools reads; ids are unique, and all that is named is there."""
    content = json.loads(path.read_text())
    for part in ('images', 'annotations', 'categories'):
        ids = [each['id'] for each in content[part]]
        assert len(set(ids)) == len(ids)
    images = {image['id'] for image in content['images']}
    categories = {category['id'] for category in content['categories']}
    for annotation in content['annotations']:
        assert annotation['image_id'] in images and annotation['category_id'] in categories
    return content, COCO(str(path))


def test_one_coco_file_and_one_table_hold_what_the_files_of_each_image_hold(photos, capsys):
    parquet = pytest.importorskip('pyarrow.parquet', reason='pyarrow is not installed')
    out = photos / 'out'
    asked = ('photos', WORDS, '--out-dir', 'out', '--set-files', 'coco,areas', '--batch-size', '2')
    for done in (3, 4):  # the second run finds the fourth mended
        assert label(*asked) == (1 if done == 3 else 0), capsys.readouterr().err
        content, coco = coco_of(out / 'coco.json')
        names = {image['file_name'] for image in content['images']}
        assert names == {'a.png', 'below/a.png', 'label.png', 'bad.png'} - (
            {'bad.png'} if done == 3 else set()
        )
        assert [each['name'] for each in content['categories']] == WORDS.split('; ')
        files = {line['image']: line['files'] for line in lines(out / 'found.jsonl')}
        rows = parquet.read_table(out / 'areas.parquet').to_pylist()
        for image in content['images']:
            own = files[str(photos / 'photos' / image['file_name'])]
            labels = np.array(Image.open(out / own['labels']))
            assert labels.shape == (image['height'], image['width'])
            found = coco.loadAnns(coco.getAnnIds(image['id']))
            assert {each['category_id'] - 1 for each in found} == set(np.unique(labels))
            for each in found:
                assert (coco.annToMask(each) == (labels == each['category_id'] - 1)).all()
            classes = json.loads((out / own['json']).read_text())['classes']
            assert [
                {key: row[key] for key in ('name', 'pixels', 'share', 'score')}
                | {'index': row['class_index']}
                for row in rows
                if row['image'] == image['file_name']
            ] == classes
        save_scene(photos / 'photos' / 'bad.png', 3)


def test_a_panoptic_set_keeps_the_rules_of_the_format(photos, capsys):
    # Two images whose PNG files would have one name, one of them below.
    save_scene(photos / 'photos' / 'below' / 'a.bmp', 5)
    asked = ('photos', 'sky; grass; water; ball; star', '--out-dir', 'out', '--save', 'none')
    asked += ('--task', 'panoptic', '--stuff', 'sky; grass; water', '--model', 'ovseg-tiny')
    asked += ('--threshold', '0.2', '--set-files', 'panoptic,coco')
    assert label(*asked) == 1, capsys.readouterr().err
    out = photos / 'out'
    content = json.loads((out / 'panoptic.json').read_text())
    images = {image['id']: image for image in content['images']}
    things = {each['id']: each['isthing'] for each in content['categories']}
    assert things == {1: 0, 2: 0, 3: 0, 4: 1, 5: 1}
    assert [each['image_id'] for each in content['annotations']] == list(images)
    assert len({each['file_name'] for each in content['annotations']}) == len(images) == 4
    total = 0
    for annotation in content['annotations']:
        image = images[annotation['image_id']]
        assert (photos / 'photos' / image['file_name']).exists()
        png = Image.open(out / 'panoptic' / annotation['file_name'])
        ids = np.array(png).astype(int) @ [1, 256, 65536]
        assert png.mode == 'RGB' and ids.shape == (image['height'], image['width'])
        segments = annotation['segments_info']
        total += len(segments)
        assert {each['id'] for each in segments} == set(np.unique(ids)) - {0}
        assert len({each['id'] for each in segments}) == len(segments)
        stuff = [each['category_id'] for each in segments if not things[each['category_id']]]
        assert len(set(stuff)) == len(stuff)
        for each in segments:
            rows, columns = np.nonzero(ids == each['id'])
            left, top, width, height = each['bbox']
            assert each['area'] == len(rows) and each['iscrowd'] == 0
            assert (left, left + width) == (columns.min(), columns.max() + 1)
            assert (top, top + height) == (rows.min(), rows.max() + 1)
    assert total > 4
    coco, _ = coco_of(out / 'coco.json')
    assert {each['id'] for each in coco['categories']} == {4, 5}
    counts = [sum(line['segments'].values()) for line in lines(out / 'found.jsonl')]
    assert sum(counts) == total


def test_what_cannot_be_written_is_said_before_the_first_image(photos, capsys):
    (photos / 'out').mkdir()
    (photos / 'out' / 'coco.json').write_text('{"mine": 1}')
    (photos / 'photos' / 'Panoptic').mkdir()
    save_scene(photos / 'photos' / 'Panoptic' / 'b.png', 0)
    cases = [
        (('--set-files', 'coco'), 'coco.json is there and is no result of ovseg'),
        (('--set-files', 'panoptic'), '--set-files panoptic belongs to --task panoptic'),
        (('--set-files', 'coko'), "Did you mean 'coco'?"),
        (('--set-files', 'panoptic', '--task', 'panoptic'), 'The images have a folder Panoptic'),
        (('--stuff', 'sky'), '--stuff means something to segments only'),
        (('--task', 'panoptic', '--threshold', '7'), 'score_threshold must be a number'),
    ]
    for words, part in cases:
        assert label('photos', WORDS, '--out-dir', 'out', *words) == 2
        err = capsys.readouterr().err
        assert part in err and sum(line.startswith('error') for line in err.splitlines()) == 1
    assert not list(photos.glob('out/**/*.png')) and not (photos / 'out' / 'label.json').exists()


def test_records_of_several_writers_are_read_in_the_order_asked_for(tmp_path):
    for writer, images in enumerate((('c', 'a'), ('b', 'a'))):
        records = SetRecords(tmp_path, writer)
        with records.opened():
            for image in images:
                records.add(image, json.dumps({'of': image, 'by': writer}))
    with (tmp_path / '.records' / '0.jsonl').open('ab') as file:
        file.write(b'"b"\t{"of": {}')  # its writer died
    found = SetRecords(tmp_path).found({'a': 0, 'b': 1, 'c': 2, 'd': 3})
    assert [found.has(position) for position in range(4)] == [True, True, True, False]
    found.drop(2)
    assert list(found) == [(0, {'of': 'a', 'by': 1}), (1, {'of': 'b', 'by': 1})]
    with SetRecords(tmp_path, 0).opened():
        pass
    assert (tmp_path / '.records' / '0.jsonl').read_bytes().count(b'\n') == 2
    assert (tmp_path / '.records' / '0.jsonl').read_bytes().endswith(b'}\n')
