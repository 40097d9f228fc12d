"""Which images a person means by a path, a folder or a pattern, and where each stands in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ovseg.errors import UserError, printable_line
from ovseg.folders import (
    IMAGE_SUFFIXES,
    base_of_pattern,
    is_image_name,
    is_pattern,
    matching_files,
    walk_files,
)
from ovseg.input_files import refuse_address, similar_file
from ovseg.line_lists import read_lines
from ovseg.result_files import is_result

Unreadable = Callable[[str, OSError], None]


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image file and its place.

    Attributes:
        path: of the file.
        place: its path below the folder, or the fixed part of the pattern, that was asked for.
    """

    path: Path
    place: Path


@dataclass(frozen=True)
class FoundImages:
    """What was found.

    Attributes:
        images: in the order of their paths.
        left_out: pictures among them that ovseg made itself in an earlier run.
    """

    images: tuple[FoundImage, ...]
    left_out: tuple[Path, ...] = ()


def find_images(pattern: str) -> list[Path]:
    """The image files that a path, a folder or a glob pattern names, sorted.

    A folder gives the files in it, and in the folders below it, that have an image's suffix;
    folders that are linked are looked into, each once. A pattern gives every file that it matches,
    whatever its suffix. Hidden files are left out, and pictures that ovseg itself made, unless one
    is named alone.

    Args:
        pattern: as typed by a person; ``~`` is the home folder.

    Raises:
        FileNotFoundError: nothing is there, or a folder has no images.
        UserError: a folder cannot be read, or the path is neither a file nor a folder.
    """
    return [image.path for image in find_all_images([pattern]).images]


def find_all_images(patterns: Sequence[str], unreadable: Unreadable | None = None) -> FoundImages:
    """The images that some paths, folders or patterns name; see :func:`find_images`.

    An image that is named twice counts once. Places are those of each pattern alone; where two
    images would have the same one, all places are below the folder that all images share.

    Args:
        patterns: as typed by a person.
        unreadable: see :func:`ovseg.folders.walk_files`.

    Raises:
        FileNotFoundError: see :func:`find_images`.
        UserError: see :func:`find_images`.
    """
    found: dict[str, FoundImage] = {}
    for pattern in patterns:
        for image in _found_by(pattern, unreadable):
            found.setdefault(os.path.abspath(image.path), image)
    images = sorted(found.values(), key=lambda image: image.path)
    left_out: list[Path] = []
    if len(images) > 1 or any(_names_many(pattern) for pattern in patterns):
        left_out = [image.path for image in images if is_result(image.path)]
        own = set(left_out)
        images = [image for image in images if image.path not in own]
    if not images:
        raise FileNotFoundError(
            f'{" ".join(map(printable_line, patterns))} has no images but {len(left_out)} pictures '
            'that ovseg made itself: name one of them alone to segment it.'
        )
    return FoundImages(tuple(_with_places_apart(images)), tuple(left_out))


def listed_images(path: str) -> FoundImages:
    """The images that a text file lists, one path a line; those that are not there too.

    Paths are meant from the folder of the list. Places are below the folder that all share. An
    image that is listed twice counts once; pictures that ovseg itself made are left out.

    Args:
        path: of the list, see :func:`ovseg.line_lists.read_lines`.

    Raises:
        FileNotFoundError: there is no such list.
        UserError: no text, or no entry.
    """
    folder = Path(os.path.expanduser(path)).parent
    lines = read_lines(path, 'images')
    for _, entry in lines:
        refuse_address(entry, 'image')
    paths = list(dict.fromkeys(os.path.normpath(folder / entry) for _, entry in lines))
    left_out = tuple(Path(each) for each in paths if is_result(each))
    own = set(left_out)
    images = [Path(each) for each in paths if Path(each) not in own]
    if not images:
        raise UserError(f'{path} lists nothing but pictures that ovseg made itself.')
    shared = os.path.commonpath([os.path.abspath(image.parent) for image in images])
    places = [Path(os.path.abspath(image)).relative_to(shared) for image in images]
    found = (FoundImage(image, place) for image, place in zip(images, places, strict=True))
    return FoundImages(tuple(found), left_out)


def _names_many(pattern: str) -> bool:
    return not os.path.isfile(os.path.expanduser(pattern))


def _found_by(pattern: str, unreadable: Unreadable | None) -> list[FoundImage]:
    refuse_address(pattern, 'image')
    path = Path(os.path.expanduser(pattern))
    # Those of os.path answer, and do not raise, for names that are too long.
    if os.path.isdir(path):
        files = [file for file in walk_files(path, unreadable) if is_image_name(file)]
        if not files:
            raise FileNotFoundError(
                f'The folder {pattern} has no images in it or below it (looked for '
                f'{" ".join(IMAGE_SUFFIXES)}).'
            )
        return [FoundImage(file, file.relative_to(path)) for file in files]
    if os.path.exists(path):
        if not os.path.isfile(path):
            raise UserError(f'{pattern} is no image but a pipe or a device: name a regular file.')
        return [FoundImage(path, Path(path.name))]
    if not is_pattern(pattern):
        raise FileNotFoundError(f'There is no image {pattern}.{similar_file(path)}')
    files = matching_files(str(path), unreadable)
    if not files:
        raise FileNotFoundError(f'No file matches {pattern}.')
    base = base_of_pattern(str(path))
    return [FoundImage(file, file.relative_to(base)) for file in files]


def _with_places_apart(images: Sequence[FoundImage]) -> Sequence[FoundImage]:
    """The images, with places below a shared folder where two folders gave the same place."""
    paths = [image.path.absolute() for image in images]
    folders: dict[str, set[Path]] = {}
    for image, path in zip(images, paths, strict=True):
        folders.setdefault(str(image.place.with_suffix('')).casefold(), set()).add(path.parent)
    if all(len(parents) == 1 for parents in folders.values()):
        return images
    shared = os.path.commonpath([path.parent for path in paths])
    return [
        FoundImage(image.path, path.relative_to(shared))
        for image, path in zip(images, paths, strict=True)
    ]
