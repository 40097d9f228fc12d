"""``ovseg label``: the files of ``ovseg segment``, a killed run, folders of other words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from label_folders import fill, label, lines, save_scene
from PIL import Image
from scripts import ROOT

from ovseg.cli.command import main

WORDS = 'sky; grass; water'


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return fill(tmp_path)


def test_files_are_those_of_segment_and_bad_images_are_listed(place, capsys):
    assert label('photos', WORDS, '--out-dir', 'out', '--json', '--precision', 'float32') == 1
    out, err = capsys.readouterr()
    printed = [json.loads(line) for line in out.splitlines()]
    assert [line['image'] for line in printed] == [
        f'photos/{name}.png' for name in ('a', 'bad', 'below/a', 'label')
    ]
    assert 'error: 1 of 4 images failed' in err and 'bad.png' in err
    (failed,) = lines(place / 'out' / 'failed.jsonl')
    assert failed == printed[1] and 'not an image' in failed['error']
    assert len(lines(place / 'out' / 'found.jsonl')) == 3
    # label.json is the run's own.
    assert printed[3]['files']['json'] == 'out/label_png.json'
    main(['segment', 'photos', WORDS, '--out-dir', 'old', '--precision', 'float32', '--quiet'])
    for line, stem in ((printed[0], 'a'), (printed[2], 'below/a'), (printed[3], 'label')):
        theirs = np.array(Image.open(place / 'old' / f'{stem}_labels.png'))
        assert np.array_equal(np.array(Image.open(line['files']['labels'])), theirs)
        ours = json.loads((place / line['files']['json']).read_text())
        assert ours == json.loads((place / 'old' / f'{stem}.json').read_text())


def test_a_second_run_does_what_is_left_and_sums_up_all(place, capsys):
    assert label('photos', WORDS, '--out-dir', 'out') == 1
    before = {path: path.stat().st_mtime_ns for path in place.glob('out/**/*.*')}
    save_scene(place / 'photos' / 'bad.png', 3)
    (place / 'out' / 'below' / 'a_labels.png').unlink()
    assert main(['label', 'photos', WORDS, '--out-dir', 'out']) == 0
    out, err = capsys.readouterr()
    assert '2 of 4 images are done already' in err and '4 of 4 images' in out
    assert not (place / 'out' / 'failed.jsonl').exists()
    kept = [path for path in before if path.name.startswith(('a', 'label'))]
    changed = [path for path in kept if before[path] != path.stat().st_mtime_ns]
    assert {path.parent.name for path in changed} == {'below'}


REFUSED = [
    (['sky; grass'], 'other words'),
    ([WORDS, '--model', 'clip-dinoiser-tiny'], 'other model'),
    ([WORDS, '--threshold', '0.5'], 'other threshold'),
    ([WORDS, '--save', 'labels'], 'other kinds of files'),
]


def test_other_words_and_settings_are_refused_in_one_sentence(place, capsys):
    assert label('photos', WORDS, '--out-dir', 'out', '--save', 'none') == 1
    kept = {path: path.read_bytes() for path in place.glob('out/*')}
    assert {path.name for path in kept} == {'label.json', 'found.jsonl', 'failed.jsonl'}
    for words, part in REFUSED:
        capsys.readouterr()
        words = words if '--save' in words else [*words, '--save', 'none']
        assert label('photos', *words, '--out-dir', 'out') == 2
        err = capsys.readouterr().err
        assert f'with {part}' in err
        assert sum(line.startswith('error: ') for line in err.splitlines()) == 1
    assert label('photos/below', WORDS, '--out-dir', 'out', '--save', 'none') == 2
    assert {path: path.read_bytes() for path in place.glob('out/*')} == kept


def test_a_file_of_words_with_another_threshold_is_another_question(place, capsys):
    for threshold, code in ((0.3, 0), (0.5, 2), (0.3, 0)):
        words = {'classes': ['sky', 'grass'], 'threshold': threshold}
        (place / 'words.json').write_text(json.dumps(words))
        asked = ('photos/a.png', 'words.json', '--out-dir', 'out', '--save', 'none')
        assert label(*asked) == code, capsys.readouterr().err
    assert 'with other rejection' in capsys.readouterr().err


def test_a_file_of_descriptions_with_other_sentences_is_another_question(place, capsys):
    for sentence, code in (('a blue sky.', 0), ('a grey sky.', 2), ('a blue sky.', 0)):
        (place / 'said.json').write_text(json.dumps({'sky': [sentence]}))
        asked = ('photos/a.png', WORDS, '--descriptions', 'said.json', '--out-dir', 'out')
        assert label(*asked, '--save', 'none') == code, capsys.readouterr().err
    assert 'with other text settings' in capsys.readouterr().err


def test_a_list_names_images_from_its_own_folder(place, capsys):
    (place / 'photos' / 'list.txt').write_text('below/a.png\nmissing.png\na.png\na.png\n')
    out = str(place / 'out')
    assert label('photos/list.txt', WORDS, '--out-dir', out, '--save', 'labels') == 1
    assert 'missing.png' in capsys.readouterr().err
    written = sorted(str(path.relative_to(out)) for path in place.glob('out/**/*.png'))
    assert written == ['a_labels.png', 'below/a_labels.png']


def test_a_killed_run_goes_on_and_does_nothing_twice(place):
    (place / 'photos' / 'bad.png').unlink()
    for index in range(40):
        save_scene(place / 'photos' / f'{index:02d}.png', index)
    command = [sys.executable, '-m', 'ovseg', 'label', 'photos', WORDS, '--out-dir', 'out']
    command += ['--quiet', '--batch-size', '2', '--workers', '1', '--save', 'labels']
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    found = place / 'out' / 'found.jsonl'
    with subprocess.Popen(command, env=environment) as process:
        while process.poll() is None and not (found.exists() and found.read_text().count('\n') > 3):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    first = [line['image'] for line in lines(found)]
    assert process.returncode == -signal.SIGKILL and 3 < len(first) < 43
    assert label('photos', WORDS, '--out-dir', 'out', '--save', 'labels') == 0
    images = [line['image'] for line in lines(found)]
    assert images[: len(first)] == first
    assert len(images) == len(set(images)) == 43
    assert sum(1 for _ in (place / 'out').glob('**/*_labels.png')) == 43


def test_two_runs_at_once_are_refused(place, capsys):
    from ovseg.cli.label_folder import LabelFolder

    with LabelFolder('out').held():
        assert label('photos', WORDS, '--out-dir', 'out') == 2
    assert 'Another run is labelling into out' in capsys.readouterr().err
