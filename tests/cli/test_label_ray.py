"""``ovseg label --engine ray``: two processes of Ray's, one of which is killed; Parquet."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from label_folders import label, lines, save_scene
from PIL import Image

WORDS = 'sky; grass; water'


def workers():
    """The processes of Ray below this one that label."""
    parents, named = {}, set()
    for place in Path('/proc').glob('[0-9]*'):
        try:
            parents[int(place.name)] = int(
                (place / 'stat').read_text().rpartition(')')[2].split()[1]
            )
            if b'ray::MapWorker' in (place / 'cmdline').read_bytes():
                named.add(int(place.name))
        except OSError:
            continue

    def is_ours(process):
        while process in parents and process != os.getpid():
            process = parents[process]
        return process == os.getpid()

    return [process for process in named if is_ours(process)]


@pytest.mark.slow
def test_nothing_is_lost_or_done_twice_where_a_process_of_rays_is_killed(tmp_path, monkeypatch):
    pytest.importorskip('ray', reason='ray is not installed')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('RAY_ADDRESS', 'local')  # not what else may run here
    (tmp_path / 'photos').mkdir()
    for index in range(12):
        save_scene(tmp_path / 'photos' / f'{index:02d}.png', index)
    (tmp_path / 'photos' / 'bad.png').write_bytes(b'no picture')
    killed = []

    def kill_one():
        while not list(tmp_path.glob('out/*_labels.png')):
            time.sleep(0.005)
        killed.append(workers()[0])
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    asked = ('photos', WORDS, '--out-dir', 'out', '--batch-size', '1', '--set-files', 'coco')
    assert label(*asked, '--engine', 'ray', '--ray-workers', '2') == 1
    killer.join()
    assert killed
    out = tmp_path / 'out'
    found = Counter(line['image'] for line in lines(out / 'found.jsonl'))
    assert found == Counter(str(tmp_path / 'photos' / f'{index:02d}.png') for index in range(12))
    (failed,) = lines(out / 'failed.jsonl')
    assert 'not an image' in failed['error']
    assert len(json.loads((out / 'coco.json').read_text())['images']) == 12
    # The same as one process makes, which goes on in the same folder and finds nothing to do.
    (tmp_path / 'photos' / 'bad.png').unlink()
    assert label(*asked) == 0
    assert label('photos', WORDS, '--out-dir', 'own', '--batch-size', '1') == 0
    for path in (tmp_path / 'own').glob('*_labels.png'):
        assert np.array_equal(np.array(Image.open(out / path.name)), np.array(Image.open(path)))


@pytest.fixture
def shards(tmp_path, monkeypatch):
    """Two Parquet files with five images, one of them none."""
    pyarrow = pytest.importorskip('pyarrow', reason='pyarrow is not installed')
    parquet = pytest.importorskip('pyarrow.parquet', reason='pyarrow is not installed')
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'shards').mkdir()
    data = []
    for index in range(4):
        save_scene(tmp_path / 'one.png', index)
        data.append((tmp_path / 'one.png').read_bytes())
    tables = [
        {'image': data[:3], 'name': ['a.png', 'train/b.png', 'train/c.png']},
        {'image': [b'no picture', data[3]], 'name': ['bad.jpg', 'd.jpg']},
    ]
    for index, table in enumerate(tables):
        path = tmp_path / 'shards' / f'{index}.parquet'
        parquet.write_table(pyarrow.table(table), path, row_group_size=2)
    return tmp_path


def test_images_from_parquet_give_what_their_files_give(shards, capsys):
    names = ['a.png', 'train/b.png', 'train/c.png', 'd.jpg']
    for index, name in enumerate(names):
        (shards / 'photos' / name).parent.mkdir(parents=True, exist_ok=True)
        save_scene(shards / 'scene.png', index)
        (shards / 'scene.png').rename(shards / 'photos' / name)
    asked = (WORDS, '--set-files', 'coco', '--batch-size', '2')
    assert label('shards', *asked, '--out-dir', 'out') == 1
    assert 'The image bad.jpg is not an image' in capsys.readouterr().err
    assert label('photos', *asked, '--out-dir', 'own') == 0
    for name in names:
        stem = name.rpartition('.')[0]
        ours, theirs = (shards / folder / f'{stem}_labels.png' for folder in ('out', 'own'))
        assert np.array_equal(np.array(Image.open(ours)), np.array(Image.open(theirs)))
    coco = json.loads((shards / 'out' / 'coco.json').read_text())
    assert [image['file_name'] for image in coco['images']] == names
    # A row that is missing alone is done again, from the middle of a row group.
    (shards / 'out' / 'train' / 'b.json').unlink()
    assert label('shards/*.parquet', *asked, '--out-dir', 'out') == 2  # is another folder
    assert label('shards', *asked, '--out-dir', 'out') == 1
    again = [line['image'] for line in lines(shards / 'out' / 'found.jsonl')][4:]
    assert again == ['train/b.png'] and (shards / 'out' / 'train' / 'b.json').exists()


def test_columns_and_names_that_are_of_no_use_are_refused_in_a_sentence(shards, capsys):
    import pyarrow
    from pyarrow import parquet

    buffer = io.BytesIO()
    Image.new('RGB', (4, 4)).save(buffer, format='PNG')
    struct = [{'bytes': buffer.getvalue(), 'path': 'x.png'}]
    cases = [
        ({'jpg': [b''], 'name': ['a']}, (), "no column 'image'"),
        ({'image': ['text'], 'name': ['a']}, (), "column 'image' of bad.parquet holds string"),
        ({'image': [b''], 'key': ['a']}, (), "no column 'name'"),
        ({'image': [b''], 'name': ['../a']}, (), "'../a' names no file below a folder"),
        ({'image': [b'', b''], 'name': ['a', 'a']}, (), 'Two images are called a'),
        ({'image': [b''], 'name': ['a']}, ('--columns', 'image'), '--columns must name two'),
    ]
    for table, words, part in cases:
        parquet.write_table(pyarrow.table(table), 'bad.parquet')
        assert label('bad.parquet', WORDS, '--out-dir', 'out', *words) == 2
        assert part in capsys.readouterr().err.replace(str(shards) + '/', '')
    Path('bad.parquet').write_bytes(b'PAR1')
    assert label('bad.parquet', WORDS, '--out-dir', 'out') == 2
    assert 'cannot be read as a Parquet file' in capsys.readouterr().err
    # As Hugging Face's datasets write them.
    parquet.write_table(pyarrow.table({'image': struct}), 'hugging.parquet')
    assert label('hugging.parquet', WORDS, '--out-dir', 'out', '--save', 'labels') == 0
    assert (shards / 'out' / 'x_labels.png').exists()


def test_processes_of_torchrun_do_not_start_ray(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_scene(tmp_path / 'a.png', 0)
    for name in ('RANK', 'MASTER_PORT'):
        monkeypatch.setenv(name, '1')
    monkeypatch.setenv('WORLD_SIZE', '2')
    monkeypatch.setenv('MASTER_ADDR', 'localhost')
    assert label('a.png', WORDS, '--out-dir', 'out', '--engine', 'ray') == 2
    assert 'start the command once, without torchrun' in capsys.readouterr().err


def test_a_cluster_that_is_not_there_is_a_sentence(tmp_path, monkeypatch, capsys):
    ray = pytest.importorskip('ray', reason='ray is not installed')

    def nowhere(**_):
        raise ConnectionError('nobody answers at 192.0.2.1')

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray, 'init', nowhere)
    save_scene(tmp_path / 'a.png', 0)
    assert label('a.png', WORDS, '--out-dir', 'out', '--engine', 'ray') == 2
    assert 'There is no Ray cluster to join (nobody answers' in capsys.readouterr().err
