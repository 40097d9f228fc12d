"""Frames of a video: their numbers, their order of colours, files that are no videos."""

from __future__ import annotations

import os

import cv2
import numpy as np
import pytest

from ovseg.errors import Notice, UserError
from ovseg.images.reading import load_rgb
from ovseg.images.video import Video


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    """Six frames of 48 x 64 pixels, redder and redder."""
    path = tmp_path_factory.mktemp('video') / 'clip.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 5, (64, 48))
    for number in range(6):
        writer.write(np.full((48, 64, 3), (0, 0, 40 * number), np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize('every', [1, 2, 4, 99])
def test_every_nth_frame_comes_with_its_number(clip, every):
    video = Video.find(clip)
    assert video.count == 6
    frames = dict(video.frames(every))
    assert list(frames) == list(range(0, 6, every))
    for number, frame in frames.items():
        assert frame.shape == (48, 64, 3) and frame.dtype == np.uint8
        assert np.abs(frame.mean((0, 1)) - (40 * number, 0, 0)).max() < 6  # MJPG is lossy


def test_the_environment_is_as_before(clip, monkeypatch):
    monkeypatch.setenv('OPENCV_FFMPEG_LOGLEVEL', '16')
    before = dict(os.environ)
    Video.find(clip)
    assert dict(os.environ) == before


def test_what_is_no_video_is_a_sentence(tmp_path, clip):
    broken = tmp_path / 'broken.mp4'
    broken.write_bytes(clip.read_bytes()[:100])
    with pytest.raises(UserError, match=r'broken.mp4 cannot be read by OpenCV'):
        Video.find(broken)
    with pytest.raises(FileNotFoundError, match='missing.mp4 does not exist'):
        Video.find(tmp_path / 'missing.mp4')
    with pytest.raises(UserError, match='is a folder'):
        Video.find(tmp_path)


def test_a_list_of_other_files_is_not_followed(tmp_path, clip):
    """FFmpeg would open what a playlist names, were it another machine's, and wait for more."""
    frames = tmp_path / 'part.ts'
    frames.write_bytes(clip.read_bytes())
    header = '#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n'
    playlist = tmp_path / 'list.mp4'
    for address, end in (
        ('http://127.0.0.1:9/a.ts', ''),
        ('http://127.0.0.1:9/a.ts', '#EXT-X-ENDLIST\n'),
        (str(frames), '#EXT-X-ENDLIST\n'),
    ):
        playlist.write_text(f'{header}{address}\n{end}')
        with pytest.raises(UserError, match=r'list.mp4 cannot be read'):
            Video.find(playlist)
    playlist.write_text(f"ffconcat version 1.0\nfile '{frames.name}'\n")
    with pytest.raises(UserError, match=r'list.mp4 cannot be read'):
        Video.find(playlist)


@pytest.mark.parametrize(
    'suffix, code', [('.mp4', 'mp4v'), ('.mov', 'mp4v'), ('.m4v', 'mp4v'), ('.mkv', 'MJPG'),
                     ('.avi', 'MJPG'), ('.webm', 'VP80'), ('.mpg', 'PIM1'), ('.wmv', 'WMV2')]
)  # fmt: skip
def test_every_suffix_of_videos_is_read(tmp_path, suffix, code):
    path = tmp_path / f'clip{suffix}'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 25, (64, 48))
    if not writer.isOpened():
        pytest.skip(f'this OpenCV cannot write {code} into {suffix}')
    for shade in range(0, 240, 40):
        writer.write(np.full((48, 64, 3), shade, np.uint8))
    writer.release()
    assert len(list(Video.find(path).frames())) == 6


def test_a_video_given_as_an_image_is_explained(clip):
    with pytest.raises(UserError, match='is a video: name it alone'):
        load_rgb(clip)


def test_an_address_given_as_an_image_is_explained():
    with pytest.raises(UserError, match='is an address, and ovseg reads files: fetch the image'):
        load_rgb('https://example.org/photo.jpg')


def test_a_video_that_was_cut_says_so(tmp_path):
    whole = str(tmp_path / 'whole.avi')
    writer = cv2.VideoWriter(whole, cv2.VideoWriter_fourcc(*'MJPG'), 5, (64, 48))
    for _ in range(6):
        writer.write(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8))
    writer.release()
    content = (tmp_path / 'whole.avi').read_bytes()
    (tmp_path / 'cut.avi').write_bytes(content[: len(content) * 3 // 4])
    video = Video.find(tmp_path / 'cut.avi')
    with pytest.warns(Notice, match=r'cut\.avi ends after [1-4] of the 6 frames'):
        frames = list(video.frames())
    assert 0 < len(frames) < 5
    with pytest.warns(Notice, match='ends after'):
        assert [number for number, _ in video.frames(2)] == [number for number, _ in frames[::2]]
