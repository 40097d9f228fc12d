"""tools/test.py on pictures of a few rows or columns, by every kind of segmentor."""

from __future__ import annotations

import numpy as np
import pytest
from own_data import write_own_config, write_pictures
from PIL import Image
from tool_runs import read_result, run_tool

from ovseg.scenes.datasets import CLASSES

SIZES = ((1, 3000), (3000, 1), (3, 2000))


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]
    return write_pictures(tmp_path_factory.mktemp('thin'), pictures, len(CLASSES))


@pytest.mark.parametrize(
    'base',
    [
        *('maskclip/maskclip_tiny.py', 'trident/trident_tiny.py', 'ovseg/ovseg_tiny.py'),
        'denseclip/denseclip_fpn_tiny_scenes.py',
    ],
)
def test_thin_pictures_are_labelled_at_their_size(base, data, tmp_path):
    more = 'test_dataloader["dataset"].update(resize={{_base_.resize}}, keep_original=True)'
    config = write_own_config(tmp_path / 'mine.py', base, data, CLASSES, more)
    words = ('--out', tmp_path / 'out', '--show-dir', tmp_path / 'shown')
    assert run_tool('test', config, *words) == 0
    assert read_result(tmp_path / 'mine_work')['images'] == len(SIZES)
    for index, size in enumerate(SIZES):
        assert np.asarray(Image.open(tmp_path / 'out' / f'{index}.png')).shape == size
    assert len(list((tmp_path / 'shown').iterdir())) == len(SIZES)
