from __future__ import annotations

import time

import numpy as np
import pytest
from miniatures import (
    COUNT,
    NAMES,
    PANOPTIC_NAMES,
    SIZE,
    blocks,
    make_miniature,
    prepare,
    prepared_miniature,
)
from mmseg.datasets import PascalContextDataset
from PIL import Image
from tool_runs import run_script, run_tool

from ovseg.datasets.preparation import PREPARATIONS, context, voc

CONVERTED = tuple(name for name in NAMES if name not in ('voc20', 'voc21', 'ade20k'))
# Where the labels of a data set stand after preparation.
LABELS = {
    'voc20': 'SegmentationClass/*.png',
    'voc21': 'SegmentationClass/*.png',
    'context59': 'SegmentationClassContext/*.png',
    'context60': 'SegmentationClassContext/*.png',
    'context459': 'annotations_detectron2/pc459_val/*.tif',
    'coco_object': 'annotations/val2017/*_instanceTrainIds.png',
    'coco_stuff164k': 'annotations/val2017/*_labelTrainIds.png',
    'cityscapes': 'gtFine/val/*/*_gtFine_labelTrainIds.png',
    'ade20k': 'annotations/validation/*.png',
    'ade847': 'annotations_detectron2/validation/*.tif',
}
# The second image's labels after preparation, as in the stripes of its miniature.
EXPECTED = {
    'voc20': [0, 255, 2, 20],
    'voc21': [0, 255, 2, 20],
    'context59': [0, 1, 6, 0],
    'context60': [0, 1, 6, 0],
    'context459': [65535, 1, 300, 458],
    'coco_object': [1, 80, 0, 0, 0],
    'coco_stuff164k': [0, 79, 81, 170, 255],
    'cityscapes': [255, 0, 12, 18],
    'ade20k': [0, 2, 150],
    'ade847': [65535, 0, 1, 846, 65535],
}


def outputs(name, root):
    return sorted(root.glob(LABELS[name]))


@pytest.mark.parametrize('name', NAMES)
def test_labels_have_the_values_that_the_data_set_reads(name, tmp_path, capsys):
    prepared_miniature(name, tmp_path)
    files = outputs(name, tmp_path)
    assert len(files) == COUNT
    np.testing.assert_array_equal(np.asarray(Image.open(files[1])), blocks(EXPECTED[name]))
    assert f'{COUNT} of {COUNT} label maps are good' in capsys.readouterr().out


@pytest.mark.parametrize('name', CONVERTED)
def test_a_second_run_makes_nothing_again_but_what_is_gone_or_broken(name, tmp_path, capsys):
    prepared_miniature(name, tmp_path)
    capsys.readouterr()
    files = outputs(name, tmp_path)
    before = [path.read_bytes() for path in files]
    stamps = [path.stat().st_mtime_ns for path in files]

    time.sleep(0.02)
    assert prepare(name, tmp_path) == 0
    assert '(0 written now, 3 were there)' in capsys.readouterr().out
    assert [path.stat().st_mtime_ns for path in files] == stamps

    files[0].unlink()
    assert prepare(name, tmp_path) == 0
    assert '(1 written now, 2 were there)' in capsys.readouterr().out

    files[1].write_bytes(before[1][: len(before[1]) // 2])
    assert prepare(name, tmp_path) == 0
    assert '(1 written now, 2 were there)' in capsys.readouterr().out
    assert [path.read_bytes() for path in files] == before
    assert not [path for path in tmp_path.rglob('.writing-*')]


@pytest.mark.parametrize('name', NAMES)
def test_a_wrong_root_is_one_sentence_that_names_it_and_exit_code_2(name, tmp_path, capsys):
    for root in (tmp_path / 'nowhere', tmp_path):
        assert run_tool('prepare_data', name, root) == 2
        error = capsys.readouterr().err
        assert error.startswith('error: ') and error.count('\n') == 1
        assert str(root) in error and 'docs/data.md' in error


@pytest.mark.parametrize('name', NAMES)
def test_a_part_of_the_images_is_refused_unless_it_is_allowed(name, tmp_path, capsys):
    make_miniature(name, tmp_path)
    assert run_tool('prepare_data', name, tmp_path, '--workers', '1') == 2
    error = capsys.readouterr().err
    assert f'but {COUNT} were found' in error and '--allow-partial' in error
    assert prepare(name, tmp_path) == 0
    assert f'but {COUNT} were found' in capsys.readouterr().out


@pytest.mark.parametrize('name', ('ade847', 'voc20'))
def test_the_tool_runs_with_workers_as_a_user_starts_it(name, tmp_path):
    make_miniature(name, tmp_path)
    words = (name, tmp_path, '--workers', '2', '--allow-partial')
    done = run_script('prepare_data.py', *words)
    assert done.returncode == 0, done.stderr
    assert f'{COUNT} of {COUNT} label maps are good' in done.stdout
    assert not done.stderr  # a bar is for terminals, and the run is too short for a line of a log


def test_one_broken_source_is_listed_and_the_others_are_made(tmp_path, capsys):
    make_miniature('context459', tmp_path)
    broken = sorted((tmp_path / 'trainval').glob('*.mat'))[1]
    broken.write_bytes(broken.read_bytes()[:40])
    assert prepare('context459', tmp_path) == 1
    printed = capsys.readouterr()
    assert '2 of 3 label maps are good' in printed.out
    failures = [line for line in printed.err.splitlines() if line.startswith('failed: ')]
    assert len(failures) == 1 and broken.stem in failures[0]
    assert len(outputs('context459', tmp_path)) == 2


def test_labels_missing_from_a_set_that_needs_no_conversion_are_listed(tmp_path, capsys):
    make_miniature('ade20k', tmp_path)
    gone = outputs('ade20k', tmp_path)[2]
    gone.unlink()
    assert prepare('ade20k', tmp_path) == 1
    assert f'failed: no file {gone}' in capsys.readouterr().err


def test_labels_of_another_size_than_the_image_are_found(tmp_path, capsys):
    make_miniature('voc20', tmp_path)
    odd = outputs('voc20', tmp_path)[0]
    Image.fromarray(np.zeros((SIZE[0], SIZE[1] + 1), np.uint8)).save(odd)
    assert prepare('voc20', tmp_path) == 1
    assert str(odd) in capsys.readouterr().err


def test_label_values_of_no_class_are_found(tmp_path, capsys):
    make_miniature('voc20', tmp_path)
    odd = outputs('voc20', tmp_path)[0]
    Image.fromarray(np.full(SIZE, 21, np.uint8)).save(odd)
    assert prepare('voc20', tmp_path) == 1
    assert f'{odd} holds the label 21, this data set has 0 to 20' in capsys.readouterr().err


def test_pixel_maps_with_values_that_coco_stuff_never_has_are_refused(tmp_path, capsys):
    make_miniature('coco_stuff164k', tmp_path)
    for path in (tmp_path / 'annotations' / 'val2017').glob('*.png'):
        Image.fromarray(np.full(SIZE, 11, np.uint8)).save(path)
    assert prepare('coco_stuff164k', tmp_path) == 2
    assert 'holds the value 11' in capsys.readouterr().err


def test_both_coco_sets_live_in_one_folder(tmp_path):
    prepared_miniature('coco_stuff164k', tmp_path)
    assert prepare('coco_object', tmp_path) == 0
    assert prepare('coco_stuff164k', tmp_path) == 0
    assert len(outputs('coco_object', tmp_path)) == len(outputs('coco_stuff164k', tmp_path)) == 3


def test_every_context_category_id_gets_the_label_of_its_name():
    # The ids of the 59 categories in the annotation file, from the list that mmseg's converter has.
    ids = (
        '2 9 18 19 22 23 25 31 33 34 44 45 46 59 65 68 72 80 85 98 104 105 113 115 144 158 159 162'
    )
    ids += ' 187 189 207 220 232 258 259 260 284 295 296 308 324 326 347 349 354 355 360 366 368'
    ids += ' 397 415 416 420 424 427 440 445 454 458'
    labels = context.labels_of_categories()
    assert labels == {int(number): label for label, number in enumerate(ids.split(), start=1)}
    assert len(labels) == len(PascalContextDataset.METAINFO['classes']) - 1


def test_context_labels_of_another_converter_are_checked_without_the_json_file(tmp_path, capsys):
    prepared_miniature('context60', tmp_path)
    (tmp_path / 'trainval_merged.json').unlink()
    assert prepare('context60', tmp_path) == 0
    assert '(0 written now, 3 were there)' in capsys.readouterr().out


def test_a_cut_context_json_is_one_sentence(tmp_path, capsys):
    make_miniature('context60', tmp_path)
    path = tmp_path / 'trainval_merged.json'
    path.write_text(path.read_text()[:200])
    assert run_tool('prepare_data', 'context', tmp_path) == 2
    assert f'{path} is no valid JSON' in capsys.readouterr().err


def test_context459_takes_the_list_of_context_if_its_own_is_missing(tmp_path):
    make_miniature('context459', tmp_path)
    own = tmp_path / 'pascalcontext_val.txt'
    names = own.read_text()
    other = tmp_path / 'ImageSets' / 'SegmentationContext' / 'val.txt'
    other.parent.mkdir(parents=True)
    own.rename(other)
    assert prepare('context459', tmp_path) == 0
    assert own.read_text() == names


def test_context459_refuses_a_release_with_other_names(tmp_path, capsys):
    make_miniature('context459', tmp_path)
    (tmp_path / 'labels.txt').write_text('1: accordion\n2: bicycle\n')
    assert run_tool('prepare_data', 'context459', tmp_path) == 2
    assert "calls class 2 'bicycle', here it is 'aeroplane'" in capsys.readouterr().err


def test_large_ade847_images_and_labels_shrink_together(tmp_path):
    prepared_miniature('ade847', tmp_path)
    image = Image.open(tmp_path / 'images_detectron2' / 'validation' / 'ADE_val_00000003.jpg')
    labels = np.asarray(Image.open(outputs('ade847', tmp_path)[2]))
    assert image.size == (591, 512) and labels.shape == (512, 591)
    assert np.unique(labels).tolist() == [0, 1, 846, 65535]


def test_a_broken_ade847_image_is_made_again(tmp_path, capsys):
    prepared_miniature('ade847', tmp_path)
    capsys.readouterr()
    image = tmp_path / 'images_detectron2' / 'validation' / 'ADE_val_00000001.jpg'
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) - 200])
    assert prepare('ade847', tmp_path) == 0
    assert '(1 written now, 2 were there)' in capsys.readouterr().out
    assert image.read_bytes() == whole


def test_training_images_are_prepared_on_request(tmp_path, capsys):
    make_miniature('ade20k', tmp_path)
    for kind in ('images', 'annotations'):
        (tmp_path / kind / 'validation').rename(tmp_path / kind / 'training')
    assert prepare('ade20k', tmp_path, '--splits', 'train') == 0
    assert 'ADE20K-150 train: 3 of 3' in capsys.readouterr().out


def test_the_full_number_of_images_needs_no_flag(tmp_path, capsys, monkeypatch):
    make_miniature('voc20', tmp_path)
    monkeypatch.setitem(voc.IMAGES, 'val', COUNT)
    assert run_tool('prepare_data', 'voc', tmp_path, '--workers', '1') == 0
    assert 'note:' not in capsys.readouterr().out


def test_training_labels_of_sbd_lie_in_a_folder_of_their_own(tmp_path, capsys):
    make_miniature('voc20', tmp_path)
    lists = tmp_path / 'ImageSets' / 'Segmentation'
    (lists / 'val.txt').rename(lists / 'trainaug.txt')
    with pytest.raises(FileNotFoundError, match='no folder .*SegmentationClassAug'):
        prepare('voc20', tmp_path, '--splits', 'trainaug')
    (tmp_path / 'SegmentationClass').rename(tmp_path / 'SegmentationClassAug')
    assert prepare('voc20', tmp_path, '--splits', 'trainaug') == 0
    assert 'VOC 2012 trainaug: 3 of 3' in capsys.readouterr().out


def test_help_lists_every_data_set_with_what_is_done(capsys):
    with pytest.raises(SystemExit) as left:
        run_tool('prepare_data', '--help')
    assert left.value.code == 0
    printed = ' '.join(capsys.readouterr().out.split())
    for name, preparation in PREPARATIONS.items():
        assert name in printed
        assert preparation.about.splitlines()[0] in printed
        assert all(dataset in printed for dataset in preparation.datasets)


def test_every_miniature_has_one_preparation():
    prepared = [name for made in PREPARATIONS.values() for name in made.datasets]
    assert sorted(prepared) == sorted((*NAMES, *PANOPTIC_NAMES))


@pytest.mark.parametrize('name', PREPARATIONS)
def test_the_help_of_a_data_set_says_what_its_folder_holds(name, capsys):
    with pytest.raises(SystemExit) as left:
        run_tool('prepare_data', name, '--help')
    assert left.value.code == 0
    printed = capsys.readouterr().out
    assert PREPARATIONS[name].about.strip() in printed
    assert PREPARATIONS[name].root in ' '.join(printed.split())


def test_a_split_that_a_data_set_lacks_and_no_workers_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        run_tool('prepare_data', 'context459', tmp_path, '--splits', 'train')
    assert left.value.code == 2
    assert '--splits' in capsys.readouterr().err
    assert run_tool('prepare_data', 'context459', tmp_path, '--workers', '0') == 2
    assert capsys.readouterr().err == 'error: --workers must be at least 1.\n'
