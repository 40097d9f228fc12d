"""Panoptic data sets from what is downloaded to what metrics compare."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from miniatures import COUNT, PANOPTIC_NAMES, SIZE, blocks, build_dataset, make_miniature, prepare
from tool_runs import run_tool

from ovseg.datasets.panoptic_files import read_panoptic_file

# Of each stripe: the class, whether it is a group, and which segment it is; None for nobody's.
_LISTED = [None, ('thing', 0, 'a'), ('thing', 0, 'b'), ('last thing', 1, 'c'), ('stuff', 0, 'd')]
STRIPES = {
    'ade20k_panoptic': [
        *(None, ('wall', 0, 'a'), ('bed ', 0, 'b'), ('bed ', 0, 'c'), ('flag', 0, 'd'), None),
    ],
    'cityscapes_panoptic': [
        *(None, ('road', 0, 'a'), ('person', 0, 'b'), ('person', 0, 'c'), ('rider', 1, 'd')),
        ('bicycle', 0, 'e'),
    ],
    'coco_panoptic': _LISTED,
    'mapillary_panoptic': _LISTED,
}
FILES = {
    'ade20k_panoptic': ('ade20k_panoptic_val.json', 'ade20k_panoptic_val'),
    'cityscapes_panoptic': (
        *('gtFine/cityscapes_panoptic_val.json', 'gtFine/cityscapes_panoptic_val'),
    ),
}


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    made = {}

    def get(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            make_miniature(name, made[name])
            assert prepare(name, made[name]) == 0
        return made[name]

    return get


@pytest.mark.parametrize('name', PANOPTIC_NAMES)
def test_each_stripe_is_the_segment_that_was_drawn(name, prepared):
    dataset = build_dataset(name, prepared(name))
    classes, things = dataset.metainfo['classes'], dataset.metainfo['thing_classes']
    stuffs = [word for word in classes if word not in things]
    sample = dataset[0]['data_samples']
    truth = sample.panoptic_truth
    assert len(dataset) == COUNT and truth.ids.shape == SIZE
    assert sample.stuff_labels == tuple(map(classes.index, stuffs))
    spoken = {'thing': things[0], 'last thing': things[-1], 'stuff': stuffs[0]}
    stripes = blocks(list(range(len(STRIPES[name]))))
    seen = {}
    for number, wanted in enumerate(STRIPES[name]):
        (own,) = np.unique(truth.ids[stripes == number])
        if wanted is None:
            assert own == 0
            continue
        word, is_crowd, which = wanted
        (segment,) = [each for each in truth.segments if each.id == own]
        assert classes[segment.label] == spoken.get(word, word)
        assert segment.is_crowd == bool(is_crowd)
        assert segment.area == (truth.ids == own).sum()
        assert seen.setdefault(which, own) == own
    assert len(set(seen.values())) == len(seen)


def test_ade20k_measures_stuff_under_things_as_published_numbers_do(prepared):
    truth = build_dataset('ade20k_panoptic', prepared('ade20k_panoptic'))[0]
    truth = truth['data_samples'].panoptic_truth
    hidden = [each for each in truth.segments if each.id not in np.unique(truth.ids)]
    assert [(each.label, each.area) for each in hidden] == [
        (1, int((blocks([0, 1, 8, 8, 2, 13]) == 2).sum()))
    ]


@pytest.mark.parametrize('name', tuple(FILES))
def test_what_is_gone_or_broken_is_made_again_and_nothing_else(name, tmp_path, capsys):
    make_miniature(name, tmp_path)
    assert prepare(name, tmp_path) == 0
    file, folder = (tmp_path / part for part in FILES[name])
    maps = sorted(folder.glob('*.png'))
    before = {path: path.read_bytes() for path in [file, *maps]}
    maps[0].unlink()
    maps[1].write_bytes(before[maps[1]][:40])
    capsys.readouterr()
    assert prepare(name, tmp_path) == 0
    assert '(2 written now, 1 were there)' in capsys.readouterr().out
    file.unlink()
    assert prepare(name, tmp_path) == 0
    assert '(0 written now, 3 were there)' in capsys.readouterr().out
    assert {path: path.read_bytes() for path in before} == before


def test_files_of_another_converter_are_kept(tmp_path, capsys):
    make_miniature('ade20k_panoptic', tmp_path)
    assert prepare('ade20k_panoptic', tmp_path) == 0
    file, folder = (tmp_path / part for part in FILES['ade20k_panoptic'])
    content = json.loads(file.read_text())
    content['images'][0]['license'] = 'theirs'
    file.write_text(json.dumps(content))
    assert prepare('ade20k_panoptic', tmp_path) == 0
    assert json.loads(file.read_text()) == content
    shutil.rmtree(tmp_path / 'annotations_instance' / 'validation')
    (tmp_path / 'annotations_instance' / 'validation').mkdir()
    assert prepare('ade20k_panoptic', tmp_path) == 0  # nothing has to be made
    next(folder.glob('*.png')).unlink()
    capsys.readouterr()
    assert prepare('ade20k_panoptic', tmp_path) == 1
    assert 'instance maps being a download of their own' in capsys.readouterr().err


def test_the_authors_names_of_cityscapes_images_are_found(prepared, tmp_path):
    root = prepared('cityscapes_panoptic')
    content = json.loads((root / FILES['cityscapes_panoptic'][0]).read_text())
    for image in content['images']:
        image['file_name'] = image['file_name'].replace('_leftImg8bit', '_gtFine_leftImg8bit')
    path = tmp_path / 'theirs.json'
    path.write_text(json.dumps(content))
    dataset = build_dataset('cityscapes_panoptic', root, ann_file=str(path))
    assert len(dataset) == COUNT == len(read_panoptic_file(path).images)


@pytest.mark.parametrize('name', PANOPTIC_NAMES)
def test_a_wrong_root_and_a_part_of_the_images_are_refused(name, tmp_path, capsys):
    assert run_tool('prepare_data', name, tmp_path) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and 'docs/data.md' in error
    make_miniature(name, tmp_path)
    assert run_tool('prepare_data', name, tmp_path, '--workers', '1') == 2
    assert f'but {COUNT} were found' in capsys.readouterr().err


def test_an_id_that_the_annotation_file_does_not_have_is_named(tmp_path, capsys):
    make_miniature('coco_panoptic', tmp_path)
    file = tmp_path / 'annotations' / 'panoptic_val2017.json'
    content = json.loads(file.read_text())
    content['annotations'][1]['segments_info'].pop()
    file.write_text(json.dumps(content))
    assert prepare('coco_panoptic', tmp_path) == 1
    assert 'holds the id 9, which the annotation file does not have' in capsys.readouterr().err
