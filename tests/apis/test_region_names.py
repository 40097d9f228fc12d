"""Models that look up files by an image's name, in the Python interface."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tiny_clip_models import VIT
from tiny_companions import DINO

from ovseg import OpenVocabSegmenter
from ovseg.errors import UserError


@pytest.fixture
def segment(tmp_path):
    (tmp_path / 'maps').mkdir()
    config = tmp_path / 'corrclip.py'
    encoder = {'type': 'CorrCLIPEncoder', 'companion': DINO, 'spatial_blocks': 1}
    clip = {'model': VIT, 'pretrained': 'random'}
    regions = {'type': 'RegionFolder', 'folder': str(tmp_path / 'maps')}
    config.write_text(
        "default_scope = 'ovseg'\n"
        f'model = dict(type="CorrCLIP", clip={clip!r}, encoder={encoder!r}, regions={regions!r},\n'
        '             text=dict(cache_dir=None, templates="single"))\n'
        'resize = dict(scale=(64, 32), keep_ratio=True)\n',
        encoding='utf-8',
    )
    return OpenVocabSegmenter(config, device='cpu')


def test_maps_are_found_for_paths_and_missed_for_arrays(segment, tmp_path):
    generator = np.random.default_rng(0)
    paths = []
    for name in ('first', 'second'):
        pixels = generator.integers(0, 256, (24, 40, 3), dtype=np.uint8)
        paths.append(tmp_path / f'{name}.png')
        Image.fromarray(pixels).save(paths[-1])
    halves = np.zeros((24, 40), np.int64)
    halves[:12], halves[12:] = 1, 2
    np.save(tmp_path / 'maps' / 'first.npy', halves)
    np.save(tmp_path / 'maps' / 'second.npy', np.ones((24, 40), np.int64))
    first, second = segment(paths, 'cat; dog; sky')
    # The smaller id keeps its labels, the other half has one.
    assert len(np.unique(first.labels[12:])) == 1
    assert first.source == str(paths[0]) and second.labels.shape == (24, 40)
    with pytest.raises(UserError, match='by the file name of the image, which this image has not'):
        segment(pixels, 'cat; dog')
    (tmp_path / 'maps' / 'second.npy').unlink()
    with pytest.raises(UserError, match=r'no region map for second\.png'):
        segment(paths[1], 'cat; dog')
