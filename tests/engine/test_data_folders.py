"""Circles of links are told before mmseg's own data sets follow them."""

from __future__ import annotations

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from PIL import Image

from ovseg.engine.runner import OVRunner
from ovseg.errors import UserError

NAMES = dict(classes=['a'], palette=[[0, 0, 0]])


def loader(folder, kind='BaseSegDataset', **settings):
    data = dict(
        type=kind,
        data_root=str(folder),
        data_prefix=dict(img_path='images'),
        img_suffix='.png',
        metainfo=NAMES,
        pipeline=[],
        **settings,
    )
    if kind == 'ImageFolderDataset':
        del data['img_suffix']
    around = dict(
        type='ConcatDataset', datasets=[dict(type='RepeatDataset', times=2, dataset=data)]
    )
    sampler = dict(type='DefaultSampler', shuffle=False)
    with DefaultScope.overwrite_default_scope('ovseg'):
        return OVRunner.build_dataloader(
            dict(batch_size=1, num_workers=0, dataset=around, sampler=sampler)
        )


@pytest.fixture
def data(tmp_path):
    """Two pictures, one of them in a linked folder that two links lead to, which is no circle."""
    for place in ('images/x', 'other'):
        (tmp_path / place).mkdir(parents=True)
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / place / 'a.png')
    for link in ('images/one', 'images/x/two'):
        (tmp_path / link).symlink_to(tmp_path / 'other')
    (tmp_path / 'list.txt').write_text('x/a\n')
    return tmp_path


def test_a_circle_is_told_before_mmseg_walks_it_and_links_alone_are_none(data):
    assert len(loader(data).dataset) == 2 * 3
    (data / 'other' / 'up').symlink_to(data / 'images')
    with pytest.raises(UserError, match=r'/up is a link to a folder above it, .* BaseSegDataset'):
        loader(data)
    assert len(loader(data, ann_file='list.txt').dataset) == 2
    assert len(loader(data, 'ImageFolderDataset').dataset) == 2 * 2
