"""Files below a folder: one rule for every place that looks for images or labels.

Folders that are linked are looked into, but each folder once only (by device and inode), so that a
link to a parent never leads round in circles. Only regular files count: reading a pipe would wait
for a writer, reading a device might never end. Hidden files and folders are left out.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from glob import glob
from pathlib import Path

from ovseg.errors import UserError

IMAGE_SUFFIXES = (
    *('.bmp', '.gif', '.jp2', '.jpeg', '.jpg', '.pbm', '.pgm'),
    *('.png', '.pnm', '.ppm', '.tga', '.tif', '.tiff', '.webp'),
)
VIDEO_SUFFIXES = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm', '.wmv')
_WILD = '*?['


def is_image_name(path: str | os.PathLike[str]) -> bool:
    """Whether a name ends like an image and is not hidden.

    Example:
        >>> is_image_name('photos/A.JPG'), is_image_name('photos/.A.jpg'), is_image_name('a.txt')
        (True, False, False)
    """
    path = Path(path)
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith('.')


def is_video_name(path: str | os.PathLike[str]) -> bool:
    """Whether a name ends like a video.

    Example:
        >>> is_video_name('clips/A.MP4'), is_video_name('a.gif')
        (True, False)
    """
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def walk_files(
    folder: str | os.PathLike[str],
    unreadable: Callable[[str, OSError], None] | None = None,
    hidden: bool = False,
) -> Iterator[Path]:
    """The regular files below a folder, links to files and folders followed.

    A folder that can be reached on several ways is visited once: by its own place if that is below
    ``folder``, else by the first link to it. The order is that of names, folder by folder; sort the
    paths where the order counts.

    Args:
        folder: where to begin.
        unreadable: told of folders that cannot be read, by path and error; None raises.
        hidden: whether hidden files and folders count, too.

    Yields:
        Paths that begin with ``folder``.

    Raises:
        UserError: a folder cannot be read and ``unreadable`` is None.
    """
    seen: set[tuple[int, int]] = set()
    # Links wait until all that lies below the folder itself was visited.
    waiting, linked = deque([os.fspath(folder)]), deque[str]()
    while waiting or linked:
        place = waiting.popleft() if waiting else linked.popleft()
        try:
            facts = os.stat(place)
            if (facts.st_dev, facts.st_ino) in seen:
                continue
            seen.add((facts.st_dev, facts.st_ino))
            with os.scandir(place) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if unreadable is None:
                raise _unreadable(place, error) from error
            unreadable(place, error)
            continue
        for entry in found:
            if entry.name.startswith('.') and not hidden:
                continue
            # Not those of `entry`: they raise for a link to itself.
            if os.path.isdir(entry.path):
                (linked if entry.is_symlink() else waiting).append(entry.path)
            elif os.path.isfile(entry.path):
                yield Path(entry.path)


def circular_link(folder: str | os.PathLike[str]) -> Path | None:
    """A link below a folder that leads back to a folder above it; None if there is none.

    For readers that are not ours, which would follow it without end.

    Args:
        folder: where to begin; hidden folders are looked into, too.

    Raises:
        UserError: a folder cannot be read.
    """
    return _circular_link(os.fspath(folder), frozenset(), set())


def _circular_link(
    place: str, above: frozenset[tuple[int, int]], seen: set[tuple[int, int]]
) -> Path | None:
    try:
        facts = os.stat(place)
        here = facts.st_dev, facts.st_ino
        if here in above:
            return Path(place)
        if here in seen:
            return None
        seen.add(here)
        with os.scandir(place) as entries:
            below = sorted(entry.path for entry in entries if _is_folder(entry))
    except OSError as error:
        raise _unreadable(place, error) from error
    found = (_circular_link(path, above | {here}, seen) for path in below)
    return next((link for link in found if link is not None), None)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is one, or a link to one; the system is asked about links only."""
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path))


def _unreadable(place: str, error: OSError) -> UserError:
    return UserError(
        f'The folder {place} cannot be read ({error.strerror or error}): give permission to read '
        'it, or move it away.'
    )


def is_pattern(text: str) -> bool:
    """Whether a path has wildcards of the shell in it."""
    return any(letter in text for letter in _WILD)


def base_of_pattern(pattern: str) -> Path:
    """The folder of a pattern above its first wildcard.

    Example:
        >>> base_of_pattern('photos/2024/**/*.jpg').as_posix()
        'photos/2024'
    """
    parts = Path(pattern).parts
    first = next((i for i, part in enumerate(parts) if is_pattern(part)), len(parts) - 1)
    return Path(*parts[:first])


def matching_files(
    pattern: str, unreadable: Callable[[str, OSError], None] | None = None
) -> list[Path]:
    """The regular files that a shell pattern matches, sorted; ``**`` is any number of folders.

    Args:
        pattern: with ``*``, ``?``, ``[...]`` and ``**``, as of :mod:`glob`.
        unreadable: see :func:`walk_files`.
    """
    base = base_of_pattern(pattern)
    wanted = Path(pattern).parts[len(base.parts) :]
    if '**' not in wanted:
        return sorted(Path(name) for name in glob(pattern) if os.path.isfile(name))
    if not os.path.isdir(base):
        return []
    hidden = any(part.startswith('.') for part in wanted)
    return sorted(
        path
        for path in walk_files(base, unreadable, hidden)
        if _matches(path.parts[len(base.parts) :], wanted)
    )


def _matches(parts: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    if not wanted:
        return not parts
    if wanted[0] == '**':
        rest = wanted[1:]
        if rest[:1] == ('**',) or not parts:
            return _matches(parts, rest)
        if parts[0].startswith('.'):
            return _matches(parts, rest)
        return (not rest) or _matches(parts, rest) or _matches(parts[1:], wanted)
    if not parts or (parts[0].startswith('.') and not wanted[0].startswith('.')):
        return False
    return fnmatch(parts[0], wanted[0]) and _matches(parts[1:], wanted[1:])
