"""Text encodings on disk: written atomically, checked when read, safe under many processes.

A cache directory belongs to one text model. In it lie segments: ``.npy`` files of records
(key, checksum, vector) that are only ever created whole (temporary file, then ``os.replace``) and
never changed. What is missing or damaged is simply computed again, so losing a race costs time,
never a wrong number.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt

_KEY_BYTES = 16
_CHECK_BYTES = 8
_SUFFIX = '.npy'
_FIELDS = ('key', 'check', 'vector')
# Many small segments (one a query) are merged into one when this many lie there.
_MERGE_COUNT = 32
_MERGE_BYTES = 8 << 20

Vector = npt.NDArray[np.float32]


def default_cache_dir() -> Path:
    """``$OVSEG_CACHE/text``, or ``~/.cache/ovseg/text``."""
    root = os.environ.get('OVSEG_CACHE')
    return Path(root or os.path.join(os.path.expanduser('~'), '.cache', 'ovseg')) / 'text'


@dataclass(frozen=True)
class _Segment:
    """An open segment: keys and checksums in memory, vectors (N, D) mapped from the file."""

    keys: bytes
    checks: bytes
    vectors: np.ndarray

    def key(self, row: int) -> bytes:
        return self.keys[row * _KEY_BYTES : (row + 1) * _KEY_BYTES]

    def vector(self, row: int) -> Vector | None:
        """A copy of the vector, or None where its checksum does not hold."""
        vector = np.array(self.vectors[row], dtype=np.float32)
        expected = self.checks[row * _CHECK_BYTES : (row + 1) * _CHECK_BYTES]
        return vector if _check(self.key(row), vector) == expected else None


class EncodingCache:
    """A dictionary on disk from strings to float32 vectors of one length.

    A directory that cannot be read or written makes the cache empty, with one warning.

    Args:
        directory: where the segments lie; created at the first ``put``.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._rows: dict[bytes, tuple[Path, int]] = {}
        self._segments: dict[Path, _Segment] = {}
        self._damaged: set[Path] = set()
        self._has_warned = False

    def get(self, strings: Sequence[str]) -> dict[str, Vector]:
        """The vectors (D,) of those ``strings`` that the cache holds intact."""
        keys = {string: _key(string) for string in strings}
        if any(key not in self._rows for key in keys.values()):
            self._scan()
        found = {}
        for string, key in keys.items():
            vector = self._read(key)
            if vector is not None:
                found[string] = vector
        return found

    def put(self, vectors: Mapping[str, Vector]) -> None:
        """Store vectors (D,) of one length; damaged segments are replaced on the way."""
        if not vectors:
            return
        entries = {_key(string): vector for string, vector in vectors.items()}
        absorbed = self._to_absorb()
        for path in absorbed:
            segment = self._segments.get(path)
            if segment is None:
                continue
            for row in range(len(segment.vectors)):
                vector = segment.vector(row)
                if vector is not None:
                    entries.setdefault(segment.key(row), vector)
        try:
            written = self._write(entries)
        except OSError as error:
            self._warn(f'text cache {self.directory} cannot be written, going on without: {error}')
            return
        for path in absorbed | {written}:
            self._forget(path)
        self._open(written)
        for path in absorbed - {written}:
            with contextlib.suppress(OSError):  # another process may hold or have removed it
                path.unlink()

    def _scan(self) -> None:
        """Take in segments that appeared since the last look, also other processes'."""
        try:
            present = set(self.directory.glob(f'*{_SUFFIX}'))
        except OSError as error:
            self._warn(f'text cache {self.directory} cannot be read, going on without: {error}')
            return
        for path in sorted(present - self._segments.keys() - self._damaged):
            self._open(path)

    def _open(self, path: Path) -> None:
        try:
            records = np.load(path, mmap_mode='r', allow_pickle=False)
            if records.dtype.names != _FIELDS:
                raise ValueError('not a segment')
            keys = records['key'].tobytes()
        except FileNotFoundError:
            return  # merged away by another process meanwhile
        except PermissionError as error:
            self._warn(f'text cache file {path} cannot be read, going on without: {error}')
            return
        except (OSError, ValueError, IndexError, EOFError, SyntaxError):
            self._damaged.add(path)
            return
        segment = _Segment(keys, records['check'].tobytes(), np.asarray(records['vector']))
        self._segments[path] = segment
        for row in range(len(records)):
            self._rows.setdefault(segment.key(row), (path, row))

    def _read(self, key: bytes) -> Vector | None:
        if key not in self._rows:
            return None
        path, row = self._rows[key]
        vector = self._segments[path].vector(row)
        if vector is not None:
            return vector
        self._damaged.add(path)
        del self._rows[key]
        return None

    def _to_absorb(self) -> set[Path]:
        small = {
            path for path, rows in self._segments.items() if rows.vectors.nbytes < _MERGE_BYTES
        }
        return self._damaged | (small if len(small) >= _MERGE_COUNT else set())

    def _write(self, entries: Mapping[bytes, Vector]) -> Path:
        """Write one segment with ``entries`` and return its path."""
        length = len(next(iter(entries.values())))
        same_length = {key: vector for key, vector in entries.items() if len(vector) == length}
        records = np.zeros(
            len(same_length),
            dtype=[
                ('key', 'u1', (_KEY_BYTES,)),
                ('check', 'u1', (_CHECK_BYTES,)),
                ('vector', '<f4', (length,)),
            ],
        )
        for row, (key, vector) in enumerate(sorted(same_length.items())):
            records[row]['key'] = np.frombuffer(key, dtype=np.uint8)
            records[row]['check'] = np.frombuffer(_check(key, vector), dtype=np.uint8)
            records[row]['vector'] = vector
        # Named by its keys: processes that encode the same words replace each other's file.
        name = blake2b(records['key'].tobytes(), digest_size=12).hexdigest()
        path = self.directory / f'{name}{_SUFFIX}'
        self.directory.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self.directory, prefix=name, suffix='.tmp')
        try:
            with os.fdopen(handle, 'wb') as file:
                np.save(file, records, allow_pickle=False)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        return path

    def _forget(self, path: Path) -> None:
        self._damaged.discard(path)
        self._segments.pop(path, None)
        self._rows = {key: place for key, place in self._rows.items() if place[0] != path}

    def _warn(self, message: str) -> None:
        if not self._has_warned:
            warnings.warn(message, stacklevel=4)
            self._has_warned = True


def _key(string: str) -> bytes:
    return blake2b(string.encode('utf-8', 'surrogatepass'), digest_size=_KEY_BYTES).digest()


def _check(key: bytes, vector: Vector) -> bytes:
    return blake2b(key + vector.tobytes(), digest_size=_CHECK_BYTES).digest()
