"""The folder of a run over many images: what it is of, which images are done, which failed.

``label.json`` says of what words, model and settings the labels are; other ones are refused.
``found.jsonl`` has a line for each image that is done, written once its files are; so a run that
was killed knows where it was. ``failed.jsonl`` lists the images of the last run that failed.

Of several processes each writes files of its own, ``found-0.jsonl``, ...: no line of one is in
another's way, on whatever disk. The process that ends last, or the first of the next run, puts them
into the two.

A lock on ``found.jsonl`` keeps two runs apart: a process alone has it to itself, several share it
once their first one had it to itself. On file systems without locks nothing keeps them apart.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ovseg.apis.files import write_json
from ovseg.apis.kinds import SET_FILES
from ovseg.cli.line_files import add_line, cut_last_line
from ovseg.errors import UserError
from ovseg.files import cannot_write, written_whole

MANIFEST, FOUND, FAILED = 'label.json', 'found.jsonl', 'failed.jsonl'
NAMES = (MANIFEST, FOUND, FAILED, *SET_FILES.values())
# The last line of a process that did all of its share.
_FINISHED = json.dumps({'finished': True})
_OF_THE_LAST = 'last'


class LabelFolder:
    """The folder, for the time of one run.

    Args:
        path: of the folder; made if missing.
        rank: the number of this process.
        count: how many processes there are.
    """

    def __init__(self, path: str | Path, rank: int = 0, count: int = 1) -> None:
        self.path = Path(path)
        self._rank, self._count = rank, count
        self._lock_file: IO[bytes] | None = None
        self._found: IO[bytes] | None = None
        self._any_failed = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """The folder for this run alone.

        Raises:
            UserError: another run is at work in it.
            CannotWrite: it cannot be written to.
        """
        path = self.path / FOUND
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock_file = open(path, 'ab')  # noqa: SIM115  # closed below
        except OSError as error:
            raise cannot_write(path, error) from error
        with lock_file:
            self._lock_file, self._any_failed = lock_file, False
            if self._rank == 0:
                self._lock(fcntl.LOCK_EX)
                cut_last_line(lock_file)
                self._collect_found()
                for part in self._parts(FAILED):  # of a run that was killed
                    part.unlink()
                if self._count > 1:
                    self._lock(fcntl.LOCK_SH)
            else:
                self._lock(fcntl.LOCK_SH)
            with self._opened():
                yield
            if self._count == 1 and not self._any_failed:
                (self.path / FAILED).unlink(missing_ok=True)

    @contextmanager
    def _opened(self) -> Iterator[None]:
        """For a time in which lines are added."""
        path = self._own(FOUND)
        try:
            self._found = open(path, 'ab', buffering=0)  # noqa: SIM115  # closed below
        except OSError as error:
            raise cannot_write(path, error) from error
        with self._found:
            yield

    def agree(self, manifest: Mapping[str, Any]) -> None:
        """Stop unless the labels in the folder are of the same words, model and settings.

        Args:
            manifest: plain values by what they are; written if the folder has none.

        Raises:
            UserError: names the first that differs.
        """
        path = self.path / MANIFEST
        if not os.path.exists(path):
            write_json(dict(manifest), path)
            return
        try:
            before = json.loads(path.read_text(encoding='utf-8'))
        except (ValueError, OSError) as error:
            raise UserError(
                f'{path} cannot be read ({error}): choose another --out-dir, or remove the folder.'
            ) from error
        # As JSON has it: lists for tuples.
        for key, value in json.loads(json.dumps(manifest)).items():
            if not isinstance(before, dict) or before.get(key) != value:
                raise UserError(
                    f'{self.path} holds labels of a run with other {key} (see {path}): choose '
                    'another --out-dir, or ask as then to go on there.'
                )

    def done(self) -> Iterator[dict[str, Any]]:
        """The lines of images that are done and whose files are there; some may come twice."""
        with open(self.path / FOUND, encoding='utf-8') as file:
            for text in file:
                with suppress(ValueError):  # a line that a full disk cut
                    line = json.loads(text)
                    files = line['files'].values()
                    if all(os.path.exists(self.path / name) for name in files):
                        yield line

    def failed(self) -> Iterator[dict[str, Any]]:
        """The lines of images that failed."""
        with suppress(FileNotFoundError), open(self.path / FAILED, encoding='utf-8') as file:
            yield from map(json.loads, file)

    def add_found(self, line: str) -> None:
        """Say that an image is done.

        Args:
            line: see :func:`~ovseg.cli.segment_summary.found_line`.

        Raises:
            CannotWrite: the disk does not take it.
        """
        assert self._found is not None  # within `held`
        add_line(self._found, line.encode('ascii') + b'\n')

    def add_failed(self, line: str) -> None:
        """Say that an image failed; the first one replaces the list of the run before.

        Args:
            line: see :func:`~ovseg.cli.segment_summary.failed_line`.
        """
        mode = 'a' if self._any_failed else 'w'
        self._any_failed = True
        with open(self._own(FAILED), mode, encoding='utf-8') as file:
            file.write(line + '\n')

    def finish(self) -> bool:
        """Say that this process did all of its share.

        Returns:
            Whether it is the last of all; then what all did stands in the common files. One that
            died is never the last: the next run does what is left.
        """
        if self._count == 1:
            return True
        self.add_found(_FINISHED)
        if not all(_ends_with_mark(self._part(FOUND, rank)) for rank in range(self._count)):
            return False
        try:
            # Of two that end at the same moment one alone can do this.
            os.rename(self._part(FOUND, 0), self._part(FOUND, _OF_THE_LAST))
        except FileNotFoundError:
            return False
        self._collect_found()
        self._collect_failed()
        return True

    def _collect_found(self) -> None:
        """Puts what processes found into the common file."""
        assert self._lock_file is not None  # within `held`
        for part in self._parts(FOUND):
            with part.open('rb') as file:
                for line in file:
                    if line.endswith(b'\n') and line[:-1] != _FINISHED.encode():
                        self._lock_file.write(line)
            self._lock_file.flush()
            part.unlink()

    def _collect_failed(self) -> None:
        parts = self._parts(FAILED)
        if not parts:
            (self.path / FAILED).unlink(missing_ok=True)
            return
        with written_whole(self.path / FAILED) as temporary, temporary.open('wb') as file:
            for part in parts:
                file.write(part.read_bytes())
        for part in parts:
            part.unlink()

    def _own(self, name: str) -> Path:
        return self.path / name if self._count == 1 else self._part(name, self._rank)

    def _part(self, name: str, process: int | str) -> Path:
        return self.path / f'{Path(name).stem}-{process}.jsonl'

    def _parts(self, name: str) -> list[Path]:
        return sorted(self.path.glob(f'{Path(name).stem}-*.jsonl'))

    def _lock(self, kind: int) -> None:
        assert self._lock_file is not None  # within `held`
        try:
            fcntl.flock(self._lock_file, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f'Another run is labelling into {self.path}: wait for it, or choose another '
                '--out-dir.'
            ) from error
        except OSError:
            pass  # a file system without locks


def _ends_with_mark(path: Path) -> bool:
    """Whether the process whose file it is did all of its share."""
    try:
        with path.open('rb') as file:
            file.seek(-min(len(_FINISHED) + 1, os.path.getsize(path)), os.SEEK_END)
            return file.read() == _FINISHED.encode() + b'\n'
    except FileNotFoundError:
        return False
