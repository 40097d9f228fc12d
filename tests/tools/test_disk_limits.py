"""Tools on a disk that takes no more: a sentence, nothing half written, what is done stays."""

from __future__ import annotations

import errno
import os
import pickle
import resource
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image
from tool_runs import run_tool

from ovseg.datasets.base import LabelMapDataset
from ovseg.datasets.preparation.recipe import Item, Recipe, prepare
from ovseg.files import CannotWrite, cannot_write
from ovseg.text.cache import EncodingCache
from ovseg.vocabulary import Vocabulary


class TwoClasses(LabelMapDataset):
    METAINFO = {'classes': ('a', 'b'), 'palette': [[0, 0, 0], [1, 1, 1]], 'ignore_index': 255}


@contextmanager
def files_of_at_most(size):
    """The system's own limit; Python gets an error instead of a signal."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def files(folder):
    return sorted(path.name for path in folder.rglob('*') if path.is_file())


def noise(item):
    return np.random.default_rng(0).integers(0, 2, (400, 400)).astype(np.uint8)


@pytest.fixture
def items(tmp_path):
    made = []
    for name in 'abc':
        Image.new('RGB', (400, 400)).save(tmp_path / f'{name}.jpg')
        made.append(Item(tmp_path / f'{name}.jpg', tmp_path / 'labels' / f'{name}.png'))
    return made


def test_scenes(tmp_path, capsys):
    none = [word for folder in ('validation', 'heldout', 'phrases') for word in (f'--{folder}', 0)]
    words = (tmp_path / 'scenes', '--training', 2, *none, '--size', 300, 300)
    with files_of_at_most(30_000):
        assert run_tool('make_scenes', *words) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: Cannot write ') and 'File too large' in error
    assert '00000000.png' in error and '.png)' not in error
    assert files(tmp_path / 'scenes') == ['00000000.png', 'settings.json']
    assert run_tool('make_scenes', *words) == 0


def test_scenes_in_a_format_that_there_is_not(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_tool('make_scenes', '--demo', tmp_path / 'demo.scene')
    assert 'use a name that ends in .png' in capsys.readouterr().err
    assert files(tmp_path) == []


def test_label_maps_that_are_too_large_are_failures_one_by_one(items, capsys):
    with files_of_at_most(10_000):
        assert prepare(Recipe('tiny', TwoClasses, 3, noise), items) == 2
    failed = [line for line in capsys.readouterr().err.splitlines() if line.startswith('failed')]
    assert len(failed) == 3 and all('File too large' in line for line in failed)
    assert files(items[0].labels.parent) == []


@pytest.mark.parametrize('workers', [1, 2])
def test_a_full_disk_ends_a_preparation(items, monkeypatch, workers):
    save = Image.Image.save

    def save_first(self, path, *args, **settings):
        if list(items[0].labels.parent.glob('[!.]*')):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return save(self, path, *args, **settings)

    prepare(Recipe('tiny', TwoClasses, 1, noise), items[:1])
    monkeypatch.setattr(Image.Image, 'save', save_first)
    with pytest.raises(CannotWrite, match='No space left on device.: make room'):
        prepare(Recipe('tiny', TwoClasses, 3, noise), items, workers)
    assert files(items[0].labels.parent) == ['a.png']


def test_the_error_travels_between_processes(tmp_path):
    error = cannot_write(tmp_path / 'a', OSError(errno.ENOSPC, 'No space left on device'))
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.errno, copy.ends_run) == (str(error), errno.ENOSPC, True)


def test_the_text_cache_goes_on_without(tmp_path):
    cache = EncodingCache(tmp_path / 'cache')
    vectors = {f'word {i}': np.full(512, i, np.float32) for i in range(50)}
    with (
        files_of_at_most(20_000),
        pytest.warns(UserWarning, match='cannot be written, going on without'),
    ):
        cache.put(vectors)
    assert files(tmp_path) == []
    np.testing.assert_array_equal(cache.get(['word 1'])['word 1'], vectors['word 1'])  # from memory
    cache.put(vectors)
    assert cache.get(['word 1'])['word 1'][0] == 1


def test_vocabularies(tmp_path):
    words = Vocabulary.parse('; '.join(f'word {i}' for i in range(2000)))
    (tmp_path / 'words.json').write_text('old')
    with files_of_at_most(8_000), pytest.raises(CannotWrite, match='File too large'):
        words.save(tmp_path / 'words.json')
    assert files(tmp_path) == ['words.json'] and (tmp_path / 'words.json').read_text() == 'old'
