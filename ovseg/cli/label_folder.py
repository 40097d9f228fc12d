"""The folder of a run over many images: what it is of, which images are done, which failed.

``label.json`` says of what words, model and settings the labels are; other ones are refused.
``found.jsonl`` has a line for each image that is done, written once its files are; so a run that
was killed knows where it was. ``failed.jsonl`` lists the images of the last run that failed.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ovseg.apis.files import write_json
from ovseg.apis.kinds import SET_FILES
from ovseg.errors import UserError
from ovseg.files import cannot_write

MANIFEST, FOUND, FAILED = 'label.json', 'found.jsonl', 'failed.jsonl'
NAMES = (MANIFEST, FOUND, FAILED, *SET_FILES.values())


class LabelFolder:
    """The folder, for the time of one run.

    Args:
        path: of the folder; made if missing.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._found: IO[str] | None = None
        self._any_failed = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """The folder for this run alone.

        Raises:
            UserError: another run is at work in it.
            CannotWrite: it cannot be written to.
        """
        path = self.path / FOUND
        with ExitStack() as files:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                # By lines: what is said to be done is with the system, should this process die.
                found = files.enter_context(open(path, 'a', encoding='utf-8', buffering=1))
            except OSError as error:
                raise cannot_write(path, error) from error
            self._lock(found)
            _end_line(found)
            self._found, self._any_failed = found, False
            yield
            if not self._any_failed:
                (self.path / FAILED).unlink(missing_ok=True)

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

    def add_found(self, line: str) -> None:
        """Say that an image is done.

        Args:
            line: see :func:`~ovseg.cli.segment_summary.found_line`.
        """
        assert self._found is not None  # within `held`
        self._found.write(line + '\n')

    def add_failed(self, line: str) -> None:
        """Say that an image failed; the first one replaces the list of the run before.

        Args:
            line: see :func:`~ovseg.cli.segment_summary.failed_line`.
        """
        mode = 'a' if self._any_failed else 'w'
        self._any_failed = True
        with open(self.path / FAILED, mode, encoding='utf-8') as file:
            file.write(line + '\n')

    def _lock(self, file: IO[str]) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f'Another run is labelling into {self.path}: wait for it, or choose another '
                '--out-dir.'
            ) from error
        except OSError:
            pass  # a file system without locks


def _end_line(file: IO[str]) -> None:
    """Ends a last line that was cut, so that the next one begins anew."""
    size = file.seek(0, os.SEEK_END)
    if size:
        with open(file.name, 'rb') as again:
            again.seek(size - 1)
            if again.read() != b'\n':
                file.write('\n')
