"""Text encodings on disk: written atomically, judged when read, safe under threads and processes.

A cache directory belongs to one text model. In it lie segments: ``.npy`` files of records
(key, checksum, vector) that are only ever created whole (temporary file, then ``os.replace``) and
never changed. The checksum binds a vector to its sentence and to the model's weights. What is
missing, damaged, or another model's is simply computed again, so losing a race costs time, never a
wrong number.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tempfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ovseg.errors import notify
from ovseg.locks import Lock

# Part of the directory's name: other versions' entries are never read, and never in the way.
CACHE_FORMAT = 'v2'
_KEY_BYTES = 16
_CHECK_BYTES = 8
_SUFFIX = '.npy'
_FIELDS = ('key', 'check', 'vector')
# Many small segments (one a query) are merged into one when this many lie there.
_MERGE_COUNT = 32
_MERGE_BYTES = 8 << 20
# Far above what one run writes into a segment.
_LARGEST_BYTES = 1 << 30
# Sentences whose vectors stay in memory; the disk has the others, if it can be written to.
_RECENT = 4096

Vector = npt.NDArray[np.float32]


def default_cache_dir() -> Path:
    """``$OVSEG_CACHE/text``, or ``~/.cache/ovseg/text``."""
    root = os.environ.get('OVSEG_CACHE')
    return Path(root or os.path.join(os.path.expanduser('~'), '.cache', 'ovseg')) / 'text'


@dataclass(frozen=True)
class _Segment:
    """What is remembered of a segment: where its records lie, never their vectors."""

    keys: bytes
    start: int
    record: np.dtype

    def __len__(self) -> int:
        return len(self.keys) // _KEY_BYTES

    @property
    def size(self) -> int:
        """Of the whole file, in bytes."""
        return self.start + len(self) * self.record.itemsize

    def key(self, row: int) -> bytes:
        return self.keys[row * _KEY_BYTES : (row + 1) * _KEY_BYTES]


class EncodingCache:
    """A dictionary on disk from strings to float32 vectors of one length.

    Nothing that lies in the directory is trusted: a vector counts if its checksum holds, if it is
    finite and not zero, and as long as the model's. What does not count is missing, and told in
    one warning. A directory that cannot be read or written is told once too; the latest vectors are
    then known for as long as this object lives. Threads may share it.

    Args:
        directory: where the segments lie; created at the first ``put``.
        secret: of the model that the vectors come from, at most 64 bytes; enters the checksums.
        length: D of the model's vectors; None for any.
    """

    def __init__(self, directory: Path, secret: bytes = b'', length: int | None = None) -> None:
        self.directory = directory
        self._secret, self._length = secret, length
        self._rows: dict[bytes, tuple[Path, int]] = {}
        self._segments: dict[Path, _Segment] = {}
        self._damaged: set[Path] = set()
        self._recent: OrderedDict[bytes, Vector] = OrderedDict()
        self._told: set[str] = set()
        self._lock = Lock()

    def get(self, strings: Sequence[str]) -> dict[str, Vector]:
        """The vectors (D,) of those ``strings`` that the cache holds intact."""
        keys = {string: _key(string) for string in strings}
        with self._lock:
            found = {key: self._recent[key] for key in keys.values() if key in self._recent}
            wanted = [key for key in keys.values() if key not in found]
            if any(key not in self._rows for key in wanted):
                self._scan()
            for path, rows in self._places(wanted).items():
                found.update(self._read(path, rows))
        return {string: found[key].copy() for string, key in keys.items() if key in found}

    def put(self, vectors: Mapping[str, Vector]) -> None:
        """Store vectors (D,) of one length; damaged segments are replaced on the way."""
        if not vectors:
            return
        entries = {_key(string): vector for string, vector in vectors.items()}
        with self._lock:
            for key, vector in entries.items():
                self._recent[key] = np.array(vector, dtype=np.float32)
                self._recent.move_to_end(key)
            while len(self._recent) > _RECENT:
                self._recent.popitem(last=False)
            # What would not count when it is read is not written.
            entries = {key: vector for key, vector in entries.items() if self._counts(vector)}
            if entries:
                self._store(entries)

    def _store(self, entries: dict[bytes, Vector]) -> None:
        absorbed = self._to_absorb()
        for path in absorbed & self._segments.keys():
            for key, vector in self._read(path, range(len(self._segments[path]))).items():
                entries.setdefault(key, vector)
        try:
            written = self._write(entries)
        except OSError as error:
            self._tell('written', f'cannot be written, going on without: {error}')
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
            self._tell('read', f'cannot be read, going on without: {error}')
            return
        for path in sorted(present - self._segments.keys() - self._damaged):
            self._open(path)

    def _open(self, path: Path) -> None:
        """Take in the keys of a segment; what is none is damaged."""
        try:
            with _regular_file(path) as file:
                segment = _segment_of(file)
        except FileNotFoundError:
            return  # merged away by another process meanwhile
        except PermissionError as error:
            self._tell('read', f'cannot be read, going on without: {error}')
            return
        except Exception:  # whatever the bytes are, they are no reason to stop
            self._drop(path, 'no file of encodings, or not whole')
            return
        self._segments[path] = segment
        for row in range(len(segment)):
            self._rows.setdefault(segment.key(row), (path, row))

    def _places(self, keys: Iterable[bytes]) -> dict[Path, list[int]]:
        """Rows of segments that hold ``keys``."""
        places: dict[Path, list[int]] = {}
        for key in keys:
            if key in self._rows:
                path, row = self._rows[key]
                places.setdefault(path, []).append(row)
        return places

    def _read(self, path: Path, rows: Iterable[int]) -> dict[bytes, Vector]:
        """The intact ones of some rows of a segment, which may have changed since it was opened."""
        segment, found = self._segments[path], {}
        size = segment.record.itemsize
        try:
            with _regular_file(path) as file:
                for row in rows:
                    file.seek(segment.start + row * size)
                    content = file.read(size)
                    vector = self._judged(segment, row, content)
                    if vector is None:
                        self._drop(path, 'a vector that is damaged, or of other words or weights')
                        self._rows.pop(segment.key(row), None)
                    else:
                        found[segment.key(row)] = vector
        except FileNotFoundError:
            self._forget(path)
        except (OSError, ValueError):
            self._forget(path)
            self._drop(path, 'it cannot be read any more')
        return found

    def _judged(self, segment: _Segment, row: int, content: bytes) -> Vector | None:
        """The vector of a record's bytes, or None if it is not the one that was put there."""
        if len(content) != segment.record.itemsize:
            return None
        [record] = np.frombuffer(content, dtype=segment.record)
        key, vector = record['key'].tobytes(), np.array(record['vector'], dtype=np.float32)
        if key != segment.key(row) or record['check'].tobytes() != self._check(key, vector):
            return None
        return vector if self._counts(vector) else None

    def _counts(self, vector: Vector) -> bool:
        """Whether a model can have made a vector."""
        fits = self._length in (None, len(vector))
        return fits and bool(np.isfinite(vector).all() and vector.any())

    def _check(self, key: bytes, vector: Vector) -> bytes:
        return _check(key, vector, self._secret)

    def _to_absorb(self) -> set[Path]:
        small = {path for path, rows in self._segments.items() if rows.size < _MERGE_BYTES}
        # What was never a file of ours, such as a folder, is passed over and not removed.
        damaged = {path for path in self._damaged if _is_regular(path)}
        return damaged | (small if len(small) >= _MERGE_COUNT else set())

    def _write(self, entries: Mapping[bytes, Vector]) -> Path:
        """Write one segment with ``entries`` and return its path."""
        length = len(next(iter(entries.values())))
        same_length = {key: vector for key, vector in entries.items() if len(vector) == length}
        records = np.zeros(len(same_length), dtype=_record(length))
        for row, (key, vector) in enumerate(sorted(same_length.items())):
            records[row]['key'] = np.frombuffer(key, dtype=np.uint8)
            records[row]['check'] = np.frombuffer(self._check(key, vector), dtype=np.uint8)
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

    def _drop(self, path: Path, reason: str) -> None:
        self._damaged.add(path)
        self._tell(
            'damaged', f'has unusable entries, which are computed anew ({path.name!r}: {reason})'
        )

    def _forget(self, path: Path) -> None:
        self._damaged.discard(path)
        self._segments.pop(path, None)
        self._rows = {key: place for key, place in self._rows.items() if place[0] != path}

    def _tell(self, kind: str, what: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            notify(f'text cache {self.directory} {what}')


@contextlib.contextmanager
def _regular_file(path: Path) -> Iterator[io.FileIO]:
    """A file opened for reading; never waits, never follows a link.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is a link, a folder, a pipe, a device.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise ValueError('no regular file')
    # What was looked at may be exchanged before it is opened: a pipe would wait, a link lead away.
    flags = os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0) | getattr(os, 'O_NOFOLLOW', 0)
    handle = os.open(path, flags | getattr(os, 'O_BINARY', 0) | getattr(os, 'O_CLOEXEC', 0))
    with io.FileIO(handle, 'rb', closefd=True) as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError('no regular file')
        yield file


def _is_regular(path: Path) -> bool:
    """Whether a path is a file itself, and no link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _segment_of(file: io.FileIO) -> _Segment:
    """Keys and layout of a segment.

    Raises:
        ValueError: it is none, or not whole.
    """
    size = os.fstat(file.fileno()).st_size
    if size > _LARGEST_BYTES:
        raise ValueError(f'{size} bytes are too many')
    content = io.BytesIO(file.read(size))
    if np.lib.format.read_magic(content) != (1, 0):
        raise ValueError('not a segment')
    (count, *more), _, record = np.lib.format.read_array_header_1_0(content)
    if more or record.names != _FIELDS or record != _record(record['vector'].shape[0]):
        raise ValueError('not a segment')
    start = content.tell()
    if size != start + count * record.itemsize:
        raise ValueError('not whole')
    records = np.frombuffer(content.getbuffer()[start:], dtype=record)
    return _Segment(records['key'].tobytes(), start, record)


def _record(length: int) -> np.dtype:
    """One entry of a segment with vectors of a length."""
    return np.dtype(
        [
            ('key', 'u1', (_KEY_BYTES,)),
            ('check', 'u1', (_CHECK_BYTES,)),
            ('vector', '<f4', (length,)),
        ]
    )


def _key(string: str) -> bytes:
    return blake2b(string.encode('utf-8', 'surrogatepass'), digest_size=_KEY_BYTES).digest()


def _check(key: bytes, vector: Vector, secret: bytes = b'') -> bytes:
    content = key + vector.astype('<f4').tobytes()
    return blake2b(content, digest_size=_CHECK_BYTES, key=secret).digest()
