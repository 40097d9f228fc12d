"""Frames of a video file, by OpenCV, which brings a reader of its own with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ovseg.errors import UserError, notify
from ovseg.input_files import regular_file

# The formats of the suffixes that count as videos, as FFmpeg calls them.
_FORMATS = 'avi,mov,mp4,m4v,matroska,webm,mpeg,mpegts,mpegvideo,asf'
# A file may be a list of addresses, which FFmpeg would fetch and, for one that others still write,
# wait for: it may open files alone, and none that are lists. Its own words about damaged ones stand
# beside no sentence of ours.
_READER = {
    'OPENCV_FFMPEG_CAPTURE_OPTIONS': f'protocol_whitelist;file|format_whitelist;{_FORMATS}',
    'OPENCV_FFMPEG_LOGLEVEL': '-8',
}


@dataclass(frozen=True)
class Video:
    """A video file.

    Attributes:
        path: of the file.
        count: how many frames its header says that it has; 0 where it does not say.
    """

    path: Path
    count: int

    @classmethod
    def find(cls, path: str | os.PathLike[str]) -> Video:
        """The video of a path.

        Args:
            path: as typed by a person.

        Raises:
            FileNotFoundError: there is no such file.
            UserError: no regular file, or none that OpenCV can read.
        """
        file = regular_file(path, 'video')
        with _capture(file) as capture:
            return cls(file, max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))))

    def frames(self, every: int = 1) -> Iterator[tuple[int, np.ndarray]]:
        """Frames with their numbers, counted from 0; those between are not decoded.

        Args:
            every: of so many frames one, the first among them.

        Yields:
            The number, and (H, W, 3) uint8 RGB, upright as the file says.

        Raises:
            UserError: not one frame can be decoded.

        Warns:
            Notice: the file ends before the frames that its header promises.
        """
        with _capture(self.path) as capture:
            number = 0
            while capture.grab():
                if number % every == 0:
                    decoded, frame = capture.retrieve()
                    if not decoded:
                        break
                    yield number, np.ascontiguousarray(frame[..., ::-1])
                number += 1
        if not number:
            raise UserError(f'The video {self.path} has no frame that can be decoded: convert it.')
        # Headers of whole videos may be wrong by one.
        if number < self.count - 1:
            notify(
                f'The video {self.path} ends after {number} of the {self.count} frames that its '
                'header names: it is cut or damaged, and what would follow is missing.'
            )


@contextmanager
def _capture(path: Path) -> Iterator[cv2.VideoCapture]:
    before = {name: os.environ.get(name) for name in _READER}
    os.environ.update(_READER)
    try:
        capture = cv2.VideoCapture(str(path.absolute()))
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    try:
        if not capture.isOpened():
            raise UserError(
                f'The video {path} cannot be read by OpenCV: it is damaged or of another kind; '
                'convert it to MP4 (H.264), or its frames to images.'
            )
        yield capture
    finally:
        capture.release()
