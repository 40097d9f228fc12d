"""``ovseg segment`` for programs: lines of JSON, silence, frames of a video, addresses."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import Image
from scripts import ROOT

from ovseg.cli.command import main

WORDS = 'sky; grass'


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with two pictures, one of them broken, and a video of five frames."""
    monkeypatch.chdir(tmp_path)
    picture = Image.open(ROOT / 'demo' / 'scene.png').convert('RGB').resize((96, 96))
    (tmp_path / 'photos').mkdir()
    picture.save('photos/a.png')
    (tmp_path / 'photos' / 'b.png').write_bytes(b'no picture')
    clip = cv2.VideoWriter('clip.avi', cv2.VideoWriter_fourcc(*'MJPG'), 5, (96, 96))
    for shift in range(5):
        frame = np.roll(np.asarray(picture)[..., ::-1], 8 * shift, axis=1)
        clip.write(np.ascontiguousarray(frame))
    clip.release()
    return tmp_path


def lines_of(capsys):
    out, err = capsys.readouterr()
    return [json.loads(line) for line in out.splitlines()], err


def test_json_has_a_line_for_each_image_and_for_each_that_failed(place, capsys):
    assert main(['segment', 'photos', WORDS, '--json', '--quiet', '--save', 'labels,json']) == 1
    (done, failed), err = lines_of(capsys)
    assert done['image'] == 'photos/a.png'
    assert done['files'] == {'labels': 'outputs/a_labels.png', 'json': 'outputs/a.json'}
    assert all((place / file).is_file() for file in done['files'].values())
    assert sum(done['classes'].values()) == pytest.approx(1)
    assert failed['image'] == 'photos/b.png' and 'not an image' in failed['error']
    assert 'error: 1 of 2 images failed' in err and '%|' not in err


def test_json_of_one_image_has_its_segments(place, capsys):
    words = ['photos/a.png', WORDS, '--model', 'ovseg-tiny', '--task', 'panoptic', '--json']
    assert main(['segment', *words]) == 0
    ((done,), _) = lines_of(capsys)
    assert done['segments'].keys() == done['classes'].keys() and done['segments']
    assert set(done['files']) == {'overlay', 'panoptic'}


def test_quiet_says_nothing_and_writes_the_files(place, capfd):
    assert main(['segment', 'photos/a.png', WORDS, '--quiet']) == 0
    assert capfd.readouterr() == ('', '')
    assert (place / 'outputs' / 'a_overlay.png').is_file()


def test_frames_of_a_video_are_named_by_their_numbers(place, capsys):
    assert main(['segment', 'clip.avi', WORDS, '--every', '2', '--json', '--quiet']) == 0
    lines, _ = lines_of(capsys)
    assert [line['image'] for line in lines] == ['clip.avi#0', 'clip.avi#2', 'clip.avi#4']
    written = {path.name for path in (place / 'outputs' / 'clip').glob('*_labels.png')}
    assert written == {f'frame_00000{number}_labels.png' for number in (0, 2, 4)}
    about = json.loads((place / 'outputs' / 'clip' / 'frame_000002.json').read_text())
    assert about['image'] == 'clip.avi#2' and (about['height'], about['width']) == (96, 96)


def test_a_file_of_the_user_where_frames_go_is_not_replaced(place, capsys):
    own = place / 'clip' / 'frame_000000_labels.png'
    own.parent.mkdir()
    Image.new('L', (4, 4)).save(own)
    before = own.read_bytes()
    words = ['clip.avi', WORDS, '--every', '9', '--save', 'labels', '--out-dir', '.', '--json']
    assert main(['segment', *words]) == 0
    ((line,), _) = lines_of(capsys)
    assert own.read_bytes() == before
    assert line['files'] == {'labels': 'clip/frame_000000_2_labels.png'}


REFUSED = [
    (['https://a.b/c.jpg', 'sky'], 'is an address, and ovseg reads files: fetch the image (curl'),
    (['s3://a/c.mp4', 'sky'], 'is an address, and ovseg reads files: fetch the video and'),
    (['nowhere.mp4', 'sky'], 'nowhere.mp4 does not exist'),
    (['broken.mp4', 'sky'], 'broken.mp4 cannot be read by OpenCV'),
    (['*.avi', 'sky'], 'clip.avi is a video: name it alone'),
    (['clip.avi', 'sky', '--every', '0'], '--every must be at least 1'),
    (['photos/a.png', 'sky', '--every', '2'], '--every means something to a video only'),
]


@pytest.mark.parametrize(('words', 'part'), REFUSED, ids=lambda value: str(value)[:20])
def test_what_cannot_be_read_is_one_sentence(place, words, part, capfd):
    (place / 'broken.mp4').write_bytes(b'no video')
    assert main(['segment', *words]) == 2
    _, err = capfd.readouterr()
    assert part in err
    assert sum(line.startswith('error: ') for line in err.splitlines()) == 1
    assert not list(place.glob('outputs/**/*.png'))


def test_files_of_another_kind_and_run_are_told_of(place, capsys):
    assert main(['segment', 'photos/a.png', WORDS, '--save', 'overlay,json']) == 0
    assert 'stay beside' not in capsys.readouterr().err
    assert main(['segment', 'photos/a.png', 'red star; fish', '--save', 'labels']) == 0
    assert 'note: 2 files of kinds that this run does not write' in capsys.readouterr().err
    assert main(['segment', 'photos/a.png', WORDS, '--save', 'overlay,json,labels']) == 0
    assert 'stay beside' not in capsys.readouterr().err
