from __future__ import annotations

import numpy as np
import pytest
from miniatures import COUNT, NAMES, ROOT, SIZE, blocks, build_dataset, prepared_miniature
from mmengine import Config
from mmseg.registry import DATASETS as MMSEG_DATASETS
from PIL import Image

from ovseg.errors import UserError
from ovseg.vocabulary.protocols import protocol_words

# Number of classes, and the second image's labels as the metric sees them (x is ignored).
x = None
LOADED = {
    'voc20': (20, [x, x, 1, 19]),
    'voc21': (21, [0, x, 2, 20]),
    'context59': (59, [x, 0, 5, x]),
    'context60': (60, [0, 1, 6, 0]),
    'context459': (459, [x, 1, 300, 458]),
    'coco_object': (81, [1, 80, 0, 0, 0]),
    'coco_stuff164k': (171, [0, 79, 81, 170, x]),
    'cityscapes': (19, [x, 0, 12, 18]),
    'ade20k': (150, [x, 1, 149]),
    'ade847': (847, [x, 0, 1, 846, x]),
}


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    """name -> folder of the prepared miniature; made once for all tests that only read it."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            prepared_miniature(name, made[name])
        return made[name]

    return get


def data_config(name):
    return Config.fromfile(ROOT / 'configs' / '_base_' / 'datasets' / f'{name}.py')


@pytest.mark.parametrize('name', NAMES)
def test_labels_reach_the_metric_without_loss(name, prepared):
    dataset = build_dataset(name, prepared(name))
    classes, values = LOADED[name]
    ignore = dataset.ignore_index
    assert len(dataset) == COUNT and len(dataset.metainfo['classes']) == classes
    sample = dataset[1]
    labels = sample['data_samples'].gt_sem_seg.data
    assert labels.dtype.is_signed and labels.shape == (1, *SIZE)
    wanted = blocks([ignore if value is None else value for value in values])
    np.testing.assert_array_equal(labels[0].numpy(), wanted)
    assert sample['inputs'].shape == (3, *SIZE)


@pytest.mark.parametrize('name', NAMES)
def test_the_ignore_value_stands_in_one_place_and_is_no_class(name, prepared):
    dataset = build_dataset(name, prepared(name))
    assert dataset.metainfo['ignore_index'] == dataset.ignore_index
    assert 'ignore_index' not in data_config(name).test_evaluator
    assert dataset.ignore_index >= len(dataset.metainfo['classes'])


@pytest.mark.parametrize('name', NAMES)
def test_every_protocol_lists_as_many_classes_as_the_data_set(name, prepared):
    metainfo = build_dataset(name, prepared(name)).metainfo
    names, _, _ = protocol_words(name, 'mmseg_metainfo')
    assert tuple(metainfo['classes']) == names
    colors = [tuple(color) for color in metainfo['palette']]
    assert len(colors) == len(names)
    if name in ('context459', 'ade847', 'coco_object'):
        assert len(set(colors)) == len(colors)


@pytest.mark.parametrize('name', NAMES)
def test_class_names_do_not_shadow_those_of_mmseg(name):
    assert data_config(name).test_dataloader.dataset.type not in MMSEG_DATASETS.module_dict


def test_a_protocol_adds_only_its_resize_rule(prepared):
    rule = dict(scale=(160, 96), keep_ratio=True)
    plain = build_dataset('voc20', prepared('voc20'))
    resized = build_dataset('voc20', prepared('voc20'), resize=rule)
    assert plain[0]['inputs'].shape == (3, 48, 64)
    sample = resized[0]
    assert sample['inputs'].shape == (3, 96, 128)
    assert sample['data_samples'].gt_sem_seg.data.shape == (1, 48, 64)
    assert sample['data_samples'].ori_shape == SIZE


def test_a_resize_rule_merges_through_a_child_config(tmp_path):
    child = tmp_path / 'child.py'
    base = ROOT / 'configs' / '_base_' / 'datasets' / 'ade847.py'
    child.write_text(
        f"_base_ = '{base}'\n"
        'test_dataloader = dict(dataset=dict(resize=dict(scale=(520, 520), keep_ratio=True)))\n'
    )
    dataset = Config.fromfile(child).test_dataloader.dataset
    assert dataset.resize.scale == (520, 520)
    assert [step.type for step in dataset.pipeline][1] == 'LoadSegLabels'


def test_a_scale_given_as_a_list_works(prepared):
    rule = dict(scale=[160, 96], keep_ratio=True)
    sample = build_dataset('voc20', prepared('voc20'), resize=rule)[0]
    assert sample['inputs'].shape == (3, 96, 128)


def test_a_resize_rule_without_an_image_to_load_is_refused(prepared):
    with pytest.raises(UserError, match='needs a pipeline with one of LoadImageFromFile'):
        build_dataset('voc20', prepared('voc20'), resize=dict(scale=(9, 9)), pipeline=[])


def test_classes_in_another_order_renumber_the_labels(prepared):
    ours = protocol_words('context59', 'mmseg_metainfo')[0]
    theirs = [words[0] for words in protocol_words('context59', 'ovseg')[1]]
    assert sorted(ours) == sorted(theirs) and list(ours) != theirs
    plain = build_dataset('context59', prepared('context59'))
    ordered = build_dataset('context59', prepared('context59'), metainfo=dict(classes=theirs))
    before = plain[2]['data_samples'].gt_sem_seg.data
    after = ordered[2]['data_samples'].gt_sem_seg.data
    found = set(before.unique().tolist()) - {255}
    assert found == {0, 5, 58}
    for label in found:
        assert set(after[before == label].tolist()) == {theirs.index(ours[label])}
    assert set(after[before == 255].tolist()) == {255}
    colors = dict(zip(ours, plain.metainfo['palette'], strict=True))
    assert ordered.metainfo['palette'] == [colors[name] for name in theirs]


def test_classes_left_out_of_a_large_set_are_ignored_and_255_stays_a_class(prepared):
    classes = protocol_words('ade847', 'mmseg_metainfo')[0]
    chosen = [*classes[1:256], classes[846], *classes[300:310]]
    assert chosen[255] == classes[846]
    dataset = build_dataset('ade847', prepared('ade847'), metainfo=dict(classes=chosen))
    labels = dataset[1]['data_samples'].gt_sem_seg.data
    np.testing.assert_array_equal(labels[0], blocks([65535, 65535, 0, 255, 65535]))
    assert (
        dataset.metainfo['palette'][255]
        == build_dataset('ade847', prepared('ade847')).metainfo['palette'][846]
    )


def test_a_class_that_the_set_does_not_have_is_named(prepared):
    with pytest.raises(UserError, match="VOC20Dataset has no class 'unicorn'"):
        build_dataset('voc20', prepared('voc20'), metainfo=dict(classes=['cat', 'unicorn']))


def sentence(name, root):
    with pytest.raises(FileNotFoundError) as raised:
        build_dataset(name, root)
    message = str(raised.value)
    assert '\n' not in message and 'tools/prepare_data.py ' in message
    assert 'docs/data.md' in message and str(root) in message
    return message


@pytest.mark.parametrize('name', NAMES)
def test_a_wrong_data_root_says_what_was_looked_for_and_where(name, tmp_path):
    root = tmp_path / 'nowhere'
    assert 'no folder of images' in sentence(name, root)


def test_a_relative_data_root_is_shown_as_a_full_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=str(tmp_path / 'data' / 'JPEGImages')):
        build_dataset('voc21', 'data')


@pytest.mark.parametrize('name', ['ade20k', 'coco_object', 'cityscapes'])
def test_existing_but_empty_folders_are_named(name, tmp_path):
    prefix = data_config(name).test_dataloader.dataset.data_prefix
    for folder in prefix.values():
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    message = sentence(name, tmp_path)
    assert 'no image *' in message and str(tmp_path / prefix.img_path) in message


def test_a_missing_list_is_named(tmp_path):
    prepared_miniature('voc21', tmp_path)
    listed = tmp_path / 'ImageSets' / 'Segmentation' / 'val.txt'
    listed.write_text('')
    assert f'no image names: {listed}' in sentence('voc21', tmp_path)
    listed.unlink()
    assert f'no list of images: {listed}' in sentence('voc21', tmp_path)


@pytest.mark.parametrize(
    'name, pattern',
    [('ade847', 'annotations_detectron2/validation/*.tif'), ('voc20', 'SegmentationClass/*.png')],
)
def test_images_without_labels_are_counted_and_the_first_is_named(name, pattern, tmp_path):
    prepared_miniature(name, tmp_path)
    gone = sorted(tmp_path.glob(pattern))[1:]
    for path in gone:
        path.unlink()
    message = sentence(name, tmp_path)
    assert f'2 of 3 images have no label file, the first: {gone[0]}' in message


def test_listed_images_that_do_not_exist_are_counted(tmp_path):
    prepared_miniature('voc20', tmp_path)
    gone = sorted((tmp_path / 'JPEGImages').glob('2007*'))[2]
    gone.unlink()
    assert f'1 of 3 images have no image, the first: {gone}' in sentence('voc20', tmp_path)


def test_unconverted_labels_are_recognised_by_their_values(tmp_path):
    prepared_miniature('ade20k', tmp_path)
    odd = sorted((tmp_path / 'annotations' / 'validation').glob('*.png'))[0]
    Image.fromarray(np.full(SIZE, 151, np.uint8)).save(odd)
    dataset = build_dataset('ade20k', tmp_path)
    with pytest.raises(UserError, match=f'{odd} holds the label 151, this data set has 0 to 150'):
        dataset[0]


def test_an_empty_image_file_is_named(tmp_path):
    prepared_miniature('voc20', tmp_path)
    dataset = build_dataset('voc20', tmp_path)
    path = dataset.get_data_info(1)['img_path']
    open(path, 'wb').close()
    assert dataset[0]['inputs'].ndim == 3
    with pytest.raises(UserError, match='is an empty file') as caught:
        dataset[1]
    assert path in str(caught.value)
