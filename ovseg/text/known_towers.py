"""What is known of text towers whose weights lie in files, kept beside the text cache.

Whose rows the cache holds is told by a hash of all weights of a text tower
(:func:`~ovseg.text.fingerprint.weights_identity`). It is computed where a tower is loaded, and kept
here under the files that it came from; so a program that starts again knows its rows without the
tower. Nothing that lies here is trusted: a record counts if it was written for files of this size,
these times and this content (some hundred pieces of each file are read), and only who has the
weights can write one that does. What does not count is missing, and the tower is loaded.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ovseg.errors import UserError
from ovseg.files import written_whole
from ovseg.input_files import read_json
from ovseg.text.fingerprint import WeightsIdentity

_FOLDER = 'known_towers'
# Of each file: its two ends, where formats keep names and sums, and pieces between them.
_END = 1 << 16
_PIECES, _PIECE = 64, 1 << 12
# What towers are built by: another version may say the same weights' structure in other words.
_BUILT_BY = ('torch', 'open_clip_torch', 'timm', 'transformers', 'ovseg')


@dataclass(frozen=True)
class TextFacts:
    """What is asked of a text tower before it encodes anything.

    Attributes:
        identity: of its weights.
        context_length: tokens of a sentence, where the tower says so.
        width: D of its space, where it has a projection to it.
    """

    identity: WeightsIdentity
    context_length: int | None
    width: int | None


@dataclass(frozen=True)
class FilesMark:
    """What tells files from others, and from what they were before.

    Attributes:
        facts: size in bytes, and times in nanoseconds of the last writing and of the last change of
            any kind, of each file.
        content: 64 bytes that only who has the files can know.
    """

    facts: tuple[tuple[int, int, int], ...]
    content: bytes


@dataclass(frozen=True)
class TextSource:
    """Where a text tower comes from.

    Attributes:
        files: absolute paths of the weight files.
        recipe: how they become a tower: architecture and settings, as text.
        folder: of the text cache.
    """

    files: tuple[str, ...]
    recipe: str
    folder: str

    def mark(self) -> FilesMark:
        """The mark of the files as they are now.

        Raises:
            OSError: one cannot be read.
        """
        facts, content = [], blake2b()
        for path in self.files:
            facts.append(_take_pieces(path, content))
        return FilesMark(tuple(facts), content.digest())

    def recall(self, mark: FilesMark, dtype: torch.dtype) -> TextFacts | None:
        """What is known of the tower, or None.

        Args:
            mark: of the files now.
            dtype: precision of the tower.
        """
        try:
            record = read_json(self._path(dtype))
            proof = record.pop('proof')
            if proof != self._proof(mark, dtype, record):
                return None
            secret = _masked(bytes.fromhex(record['secret']), mark)
            identity = WeightsIdentity(record['fingerprint'], secret)
            return TextFacts(identity, record['context_length'], record['width'])
        except (OSError, UserError, AttributeError, KeyError, TypeError, ValueError):
            return None  # none, or none of ours

    def remember(self, mark: FilesMark, dtype: torch.dtype, facts: TextFacts) -> None:
        """Keeps what is known of the tower; where that cannot be written, it is loaded again.

        Args:
            mark: of the files that it was loaded from.
            dtype: precision of the tower.
            facts: of the tower.
        """
        record: dict[str, Any] = {
            'fingerprint': facts.identity.fingerprint,
            'secret': _masked(facts.identity.secret, mark).hex(),
            'context_length': facts.context_length,
            'width': facts.width,
        }
        record['proof'] = self._proof(mark, dtype, record)
        with suppress(OSError, ValueError), written_whole(self._path(dtype)) as path:
            path.write_text(json.dumps(record), encoding='utf-8')

    def _path(self, dtype: torch.dtype) -> Path:
        said = json.dumps([self.files, self.recipe, str(dtype), [_version(n) for n in _BUILT_BY]])
        name = blake2b(said.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()
        return Path(os.path.expanduser(self.folder), _FOLDER, f'{name}.json')

    def _proof(self, mark: FilesMark, dtype: torch.dtype, record: dict[str, Any]) -> str:
        said = json.dumps([self._path(dtype).name, mark.facts, record], sort_keys=True)
        return blake2b(said.encode(), digest_size=16, key=mark.content).hexdigest()


def _take_pieces(path: str, content: blake2b) -> tuple[int, int, int]:
    with open(path, 'rb') as file:
        stat = os.fstat(file.fileno())
        size = stat.st_size
        pieces = ((size * number // _PIECES, _PIECE) for number in range(1, _PIECES))
        for place, length in ((0, _END), *pieces, (max(0, size - _END), _END)):
            file.seek(place)
            content.update(file.read(length))
    content.update(str(size).encode())
    return size, stat.st_mtime_ns, stat.st_ctime_ns


def _masked(secret: bytes, mark: FilesMark) -> bytes:
    """A secret that only who has the files can read; the same call reads it."""
    mask = blake2b(b'mask of a secret', digest_size=len(secret), key=mark.content).digest()
    return bytes(one ^ other for one, other in zip(secret, mask, strict=True))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ''
