"""No data set of ovseg accepts a setting that it does not read."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from mmseg.datasets import BaseSegDataset
from PIL import Image
from registered import registered_parts

from ovseg.datasets import InstanceDataset, PanopticDataset
from ovseg.datasets.checked import CheckedDataset
from ovseg.errors import UserError
from ovseg.registry import DATASETS
from ovseg.settings import parameters_of

registered_parts()  # imports all modules
OURS = {n: k for n, k in DATASETS.module_dict.items() if k.__module__.startswith('ovseg.')}
LABELLED = {name: kind for name, kind in OURS.items() if issubclass(kind, BaseSegDataset)}
CLASSES = dict(classes=['a', 'b', 'c'])


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Five images and label maps under the names that every data set looks for."""
    folder = tmp_path_factory.mktemp('data')
    for index in range(5):
        pixels = np.full((4, 6, 3), 20 * index, np.uint8)
        labels = np.full((4, 6), index % 3, np.uint8)
        suffixes = {
            (kind.IMG_SUFFIX, kind.SEG_MAP_SUFFIX)
            for kind in LABELLED.values()
            if hasattr(kind, 'IMG_SUFFIX')
        }
        for image, label in [*suffixes, ('.jpg', '.png'), ('.jpg', '_b.png'), ('.jpeg', '.png')]:
            for place in ('images', 'labels', 'others'):
                (folder / place).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / 'images' / f'{index}{image}')
            if image == '.jpg':
                Image.fromarray(pixels).save(folder / 'others' / f'{index}{image}')
            beside = (folder / 'labels' / f'{index}{image}').with_suffix('.png')
            for path in (folder / 'labels' / f'{index}{label}', beside):
                Image.fromarray(labels).save(path)
    for kind in ('good', 'bent'):
        (folder / 'nut' / 'test' / kind).mkdir(parents=True)
        Image.fromarray(pixels).save(folder / 'nut' / 'test' / kind / '0.png')
    (folder / 'nut' / 'ground_truth' / 'bent').mkdir(parents=True)
    Image.fromarray(labels).save(folder / 'nut' / 'ground_truth' / 'bent' / '0_mask.png')
    (folder / 'list.txt').write_text('3\n1\n')
    for name, kind in LABELLED.items():
        if issubclass(kind, PanopticDataset):
            _annotate(folder, name, kind)
    return folder


def _annotate(folder, name, kind):
    """Two annotation files in COCO's panoptic format, one of all images and one of two."""
    known = kind.METAINFO if 'classes' in kind.METAINFO else {**CLASSES, 'category_ids': (1, 2, 3)}
    content = {
        'images': [
            {'id': index, 'file_name': f'{index}.jpg', 'height': 4, 'width': 6}
            for index in range(5)
        ],
        'annotations': [
            {'image_id': index, 'file_name': f'{index}.png', 'segments_info': []}
            for index in range(5)
        ],
        'categories': [
            {'id': number, 'name': word, 'isthing': int(word in kind.METAINFO['thing_classes'])}
            for number, word in zip(known['category_ids'], known['classes'], strict=True)
        ],
    }
    if issubclass(kind, InstanceDataset):
        content['annotations'] = []
    (folder / f'{name}.json').write_text(json.dumps(content))
    content['images'] = content['images'][3:]
    content['annotations'] = content['annotations'][3:]
    (folder / f'{name}_part.json').write_text(json.dumps(content))


def build(name, root, **settings):
    """A data set of a class, as small as it can be."""
    kind = LABELLED[name]
    if name.startswith('Scenes') and 'Folder' not in name:
        given = dict(num_scenes=3, size=(48, 64))
    elif name == 'DefectFolderDataset':
        given = dict(data_root=str(root))
    else:
        given = dict(data_root=str(root), data_prefix=dict(img_path='images'))
        if 'seg_map_path' in kind.FOLDERS:
            given['data_prefix']['seg_map_path'] = 'labels'
    if issubclass(kind, PanopticDataset):
        given['ann_file'] = f'{name}.json'
    if name == 'DrawnImagesDataset':
        given['count'] = 4
    if name in ('ImageFolderDataset', 'DrawnImagesDataset', 'LabelledFolderDataset'):
        given['suffixes'] = ['.jpg']
    if name == 'LabelledFolderDataset':
        given['metainfo'] = CLASSES
    return kind(**{**given, **settings})


def state(dataset):
    """What a data set shows of its settings: its samples, facts and ways."""
    lazy = dataset._fully_initialized
    return (
        [dataset.get_data_info(i) for i in range(len(dataset))],
        dataset.metainfo,
        (lazy, dataset.test_mode, dataset.serialize_data, dataset.max_refetch),
        [str(step) for step in dataset.pipeline.transforms],
    )


def other(name, root):
    """Another value than the default for each setting of mmseg's base."""
    kind = LABELLED[name]
    classes = list(kind.METAINFO.get('classes', CLASSES['classes']))
    folders = {'img_path': 'others', 'seg_map_path': 'labels'}
    return {
        'ann_file': f'{name}_part.json' if issubclass(kind, PanopticDataset) else 'list.txt',
        'img_suffix': '.jpeg',
        'seg_map_suffix': '_b.png',
        'metainfo': dict(classes=classes[1:]),
        'data_root': str(root / 'gone'),
        'data_prefix': {key: folders[key] for key in kind.FOLDERS} or {'img_path': 'others'},
        'filter_cfg': dict(min_size=3),
        'indices': 2,
        'serialize_data': False,
        'pipeline': [
            dict(
                type='LoadScene' if 'num_scenes' in parameters_of(kind)[0] else 'LoadImageFromFile'
            )
        ],
        'test_mode': True,
        'lazy_init': True,
        'max_refetch': 3,
        'ignore_index': 7,
        'reduce_zero_label': not getattr(kind, 'REDUCE_ZERO_LABEL', False),
        'backend_args': dict(backend='local'),
    }


INHERITED = [
    name for name in inspect.signature(BaseSegDataset.__init__).parameters if name != 'self'
]


@pytest.mark.parametrize('setting', INHERITED)
@pytest.mark.parametrize('name', sorted(set(LABELLED) - {'LabelMapDataset'}))
def test_each_inherited_setting_changes_something_or_is_refused(name, setting, root):
    value = other(name, root)[setting]
    plain = state(build(name, root, **({'metainfo': CLASSES} if 'Image' in name else {})))
    try:
        found = state(build(name, root, **{setting: value}))
    except UserError as error:
        assert setting in str(error) and type(error) is UserError, error
        assert setting in (
            'filter_cfg',
            'test_mode',
            'indices',
            *LABELLED[name].UNREAD,
            'data_prefix',
        )
    except FileNotFoundError as error:
        assert setting in ('data_root', 'data_prefix', 'img_suffix', 'seg_map_suffix'), error
    else:
        if setting == 'backend_args':
            return  # files of this machine, by another way
        assert found != plain


@pytest.mark.parametrize('name', sorted(set(OURS) - {'LabelMapDataset'}))
def test_other_data_sets_name_all_their_settings(name):
    kind = OURS[name]
    settings, is_open = parameters_of(kind)
    assert not is_open and settings
    assert issubclass(kind, CheckedDataset) or not issubclass(kind, BaseSegDataset)


@pytest.mark.parametrize('name', sorted(set(LABELLED) - {'LabelMapDataset'}))
def test_unknown_settings_are_answered_with_the_nearest(name, root):
    for settings, message in [
        ({'max_refech': 3}, "has no setting 'max_refech'.*mean 'max_refetch'"),
        (
            {'data_prefix': {'img_paht': 'images'}},
            "no folder 'img_paht'|no use for the setting|set data_prefix.seg_map_path",
        ),
        ({'metainfo': {'clases': ['a']}}, "no use for 'clases'.*mean 'classes'|no class names"),
        ({'metainfo': ['a']}, 'metainfo must be a dict'),
        ({'max_refetch': 'often'}, 'max_refetch is .often., but takes int'),
    ]:
        with pytest.raises(UserError, match=message):
            build(name, root, **settings)


@pytest.mark.parametrize('scope', [None, 'mmseg', 'ovseg'])
def test_samples_are_read_whatever_the_default_scope_is(scope, root, monkeypatch):
    monkeypatch.setattr(DefaultScope, '_instance_dict', type(DefaultScope._instance_dict)())
    if scope is not None:
        DefaultScope.get_instance('test', scope_name=scope)
    steps = [dict(type=kind) for kind in ('LoadImageFromFile', 'LoadSegLabels', 'PackSegInputs')]
    for name, settings in (('ScenesDataset', {}), ('LabelledFolderDataset', {'pipeline': steps})):
        assert 'gt_sem_seg' in build(name, root, **settings)[0]['data_samples']


def test_a_list_that_does_not_exist_is_refused_everywhere(root):
    for name in ('ADE20K150Dataset', 'ImageFolderDataset', 'LabelledFolderDataset', 'VOC20Dataset'):
        with pytest.raises(FileNotFoundError, match='gone.txt'):
            build(name, root, ann_file='gone.txt')


@pytest.mark.parametrize(
    'name', ['ADE20K150Dataset', 'ImageFolderDataset', 'LabelledFolderDataset']
)
def test_lists_of_all_editors_are_read(name, root):
    (root / 'odd.txt').write_bytes(b'\xef\xbb\xbf3.jpg \r\n\r\n1\r\n')
    data = build(name, root, ann_file='odd.txt')
    names = [data.get_data_info(i)['img_path'].rpartition('/')[2] for i in range(len(data))]
    assert names == ['3.jpg', '1.jpg']


def test_a_list_may_not_name_what_is_not_there(root):
    (root / 'wrong.txt').write_text('3\n31\n')
    with pytest.raises(UserError, match="wrong.txt, line 2: no image of the data set is '31'"):
        build('LabelledFolderDataset', root, ann_file='wrong.txt')
    with pytest.raises(FileNotFoundError, match='1 of 2 images have no image'):
        build('ADE20K150Dataset', root, ann_file='wrong.txt')


def test_classes_may_stand_in_a_file(root):
    (root / 'names.txt').write_bytes(b'\xef\xbb\xbfroad\r\nbrick wall\r\n\r\ntree')
    data = build('LabelledFolderDataset', root, metainfo=dict(classes=str(root / 'names.txt')))
    assert list(data.metainfo['classes']) == ['road', 'brick wall', 'tree']
    with pytest.raises(FileNotFoundError, match='no file gone.txt of classes'):
        build('LabelledFolderDataset', root, metainfo=dict(classes='gone.txt'))


def test_another_label_may_mean_no_class(root):
    data = build('LabelledFolderDataset', root, ignore_index=2, metainfo=dict(classes=['a', 'b']))
    assert data.metainfo['ignore_index'] == 2 and data.get_data_info(0)['ignore_index'] == 2


@pytest.mark.parametrize(
    'indices, message',
    [([0, 9], 'names image 9, but the 5 images'), ([], 'is empty'), (0, 'give a number of images')],
)
@pytest.mark.parametrize('name', ['ADE20K150Dataset', 'LabelledFolderDataset'])
def test_positions_that_do_not_exist(name, indices, message, root):
    with pytest.raises(UserError, match=message):
        build(name, root, indices=indices)
