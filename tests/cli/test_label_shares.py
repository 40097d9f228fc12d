"""Several processes at one folder: shares, a process that dies, the one that ends last."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from label_folders import fill, label, lines
from scripts import ROOT

from ovseg.cli import label_shares
from ovseg.cli.label_folder import LabelFolder
from ovseg.cli.label_shares import FirstFailed, Share
from ovseg.errors import UserError
from ovseg.images.output_plan import PlannedOutput

WORDS = 'sky; grass; water'


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return fill(tmp_path)


@pytest.mark.slow
def test_torchrun_gives_each_its_share_and_one_sums_up(photos):
    command = [sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node', '2']
    command += ['--standalone', '-m', 'ovseg', 'label', 'photos', WORDS, '--out-dir', 'out']
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [*command, '--set-files', 'coco', '--json'],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    out = photos / 'out'
    images = {f'photos/{name}' for name in ('a.png', 'bad.png', 'below/a.png', 'label.png')}
    assert {json.loads(line)['image'] for line in done.stdout.splitlines()} == images
    assert done.stderr.count('error: 1 of 4 images failed') == 1
    assert sorted(path.name for path in out.glob('*.jsonl')) == ['failed.jsonl', 'found.jsonl']
    assert len(lines(out / 'failed.jsonl')) == 1
    found = [line['image'] for line in lines(out / 'found.jsonl')]
    assert len(found) == len(set(found)) == 3
    assert len(json.loads((out / 'coco.json').read_text())['images']) == 3
    writers = [path.read_text().count('\n') for path in out.glob('.records/*.jsonl')]
    assert sorted(writers) == [1, 2]


def test_what_a_process_did_that_died_is_kept_by_the_next_run(photos, capsys):
    assert label('photos', WORDS, '--out-dir', 'out', '--save', 'labels') == 1
    first = (photos / 'out' / 'found.jsonl').read_text().splitlines()
    assert len(first) == 3
    # As if two processes had done it, and died at different places.
    (photos / 'out' / 'found.jsonl').write_text('')
    (photos / 'out' / 'found-0.jsonl').write_text(first[0] + '\n{"finished": true}\n')
    (photos / 'out' / 'found-1.jsonl').write_text(first[1] + '\n' + first[2][:20])
    (photos / 'out' / 'failed-1.jsonl').write_text('{"image": "photos/bad.png", "error": ""}\n')
    times = {path: path.stat().st_mtime_ns for path in photos.glob('out/**/*.png')}
    (photos / 'photos' / 'bad.png').unlink()
    assert label('photos', WORDS, '--out-dir', 'out', '--save', 'labels') == 0
    assert sorted(path.name for path in photos.glob('out/*.jsonl')) == ['found.jsonl']
    again = [line['image'] for line in lines(photos / 'out' / 'found.jsonl')]
    assert Counter(again) == Counter(json.loads(line)['image'] for line in first)
    changed = [path for path, time in times.items() if path.stat().st_mtime_ns != time]
    assert len(changed) == 1


def test_the_last_to_end_puts_all_together_and_other_runs_wait(tmp_path):
    first, second, other = (LabelFolder(tmp_path, rank, 2) for rank in (0, 1, 0))
    alone = LabelFolder(tmp_path)
    with first.held():
        first.add_found('{"image": "a", "files": {}}')
        with second.held():
            second.add_failed('{"image": "b", "error": "no"}')
            assert first.finish() is False
            for run in (other, alone):
                with pytest.raises(UserError, match='Another run'), run.held():
                    pass
            assert second.finish() is True
            assert second.finish() is False
    assert (tmp_path / 'found.jsonl').read_text() == '{"image": "a", "files": {}}\n'
    assert list(alone.failed()) == [{'image': 'b', 'error': 'no'}]
    with alone.held():
        assert [line['image'] for line in alone.done()] == ['a']
    assert sorted(path.name for path in tmp_path.iterdir()) == ['found.jsonl']


@pytest.fixture
def joined(monkeypatch):
    """Shares of three processes over one store."""
    store = torch.distributed.HashStore()
    monkeypatch.setattr(Share, '_store', property(lambda self: store))
    return [Share(rank, 3) for rank in range(3)]


def plan_of(count):
    return [PlannedOutput(Path(f'{index}.png'), Path(), str(index)) for index in range(count)]


def test_shares_hold_each_image_that_is_left_once(joined):
    plan = plan_of(20)
    done = bytearray(20)
    done[3] = done[4] = 1
    shares = [list(share.told(lambda: done, plan)) for share in joined]
    assert sorted(sum(shares, [])) == [place for place in range(20) if place not in (3, 4)]
    assert {len(share) for share in shares} == {6}
    assert list(Share().told(lambda: done, plan)) == sorted(sum(shares, []))
    # Rows that lie together are read together.
    parts = [list(share.told(lambda: done, plan, together=True)) for share in joined]
    assert parts == [[0, 1, 2, 5, 6, 7], [8, 9, 10, 11, 12, 13], [14, 15, 16, 17, 18, 19]]
    with pytest.raises(UserError, match='process 2 of 3 sees other images'):
        joined[1].told(lambda: done, plan_of(21))


def test_others_stop_where_the_first_could_not_begin(joined, monkeypatch):
    monkeypatch.setenv('TORCHELASTIC_USE_AGENT_STORE', 'True')
    joined[0].tell_failure()
    with pytest.raises(FirstFailed):
        joined[2].told(bytearray, [])


def test_the_environment_says_which_process_it_is(monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    assert Share.of_environment() == Share() and Share().is_alone
    said = {'RANK': '5', 'WORLD_SIZE': '8', 'MASTER_ADDR': 'a', 'MASTER_PORT': '1'}
    said |= {'LOCAL_RANK': '1', 'LOCAL_WORLD_SIZE': '4'}
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    share = Share.of_environment()
    assert share == Share(5, 8, 1, 4) and str(share) == 'process 6 of 8'
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 4)
    assert [share.device(None), share.device('cuda'), share.device('cpu')] == [
        *('cuda:1', 'cuda:1'),
        'cpu',
    ]
    monkeypatch.setattr(label_shares, 'default_workers', lambda processes: 12 // processes)
    assert share.workers(None) == 3 and share.workers(7) == 7
    monkeypatch.setenv('WORLD_SIZE', '1')
    assert Share.of_environment().is_alone
