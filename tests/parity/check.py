"""Which golden file is checked by what: by its folder and its name."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from ovseg.errors import UserError
from parity.golden import Check, GoldenSet, read
from parity.report import Line, Report

# Golden folders that have checks: the module ``parity.<name>`` says in ``GOLDEN`` which.
SETS = (
    'classifiers',
    'clip_dinoiser',
    'denseclip',
    'encoders',
    'maftplus',
    'maskclip',
    'ovseg',
    'sam3',
    'training_free_attention',
    'trident',
)


def golden_set(name: str) -> GoldenSet:
    """The golden set of a folder's name; its module is imported now.

    Args:
        name: one of :data:`SETS`.
    """
    return import_module(f'parity.{name}').GOLDEN


def check_path(path: str | Path) -> Iterator[Report]:
    """Checks a golden file, or every golden file of a folder.

    Args:
        path: a ``.pt`` file or a folder of them.

    Yields:
        A report a file.

    Raises:
        UserError: nothing to check there.
        FileNotFoundError: a file of weights that a case needs is not beside it.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f'{path} does not exist; give a golden folder or files')
    files = sorted(path.glob('*.pt')) if path.is_dir() else [path]
    if not files:
        raise UserError(f'{path} holds no .pt file; give a golden folder or files')
    for file in files:
        sets = _sets_of(file)
        checks = [(name, check) for name in sets if (check := _check(name, file))]
        if len(checks) == 1:
            report = Report(read(file), str(file))
            _run(checks[0][1], report, file)
            report.miss_unseen()
        else:
            report = Report({}, str(file))
            report.lines.append(_without_check(file, sets, path.is_dir()))
        yield report


def _run(check: Check, report: Report, file: Path) -> None:
    """Runs a check; where it stops, its file fails, and other files are still checked."""
    try:
        check(report.case, file.parent)
    except FileNotFoundError:  # another file of the case: nothing of this one can be checked
        raise
    except Exception as error:
        traceback.print_exc()
        detail = f'the check stopped: {type(error).__name__}: {error}'
        report.lines.append(Line(file.name, 'FAILED', detail))


def golden_folders(path: str | Path) -> tuple[list[Path], list[str]]:
    """The golden folders that lie in a folder.

    Args:
        path: such as ``golden``, with a folder a set.

    Returns:
        Folders of sets that have checks, and names of those that have none yet.

    Raises:
        UserError: no golden folder there whose set has checks.
    """
    path = Path(path)
    folders = sorted({file.parent for file in path.glob('*/*.pt')})
    covered = [folder for folder in folders if folder.name in SETS]
    if not covered:
        raise UserError(f'{path} holds no golden folder of {", ".join(SETS)}; give their folder')
    return covered, [folder.name for folder in folders if folder.name not in SETS]


def _sets_of(file: Path) -> list[str]:
    """Names of the sets whose a file can be: one, where it lies in a folder of that name."""
    home = file.absolute().parent.name
    return [home] if home in SETS else [name for name in SETS if golden_set(name).owns(file)]


def _check(name: str, file: Path) -> Check | None:
    return golden_set(name).check_of(file.name)


def _without_check(file: Path, sets: list[str], in_folder: bool) -> Line:
    """The line of a file that is not compared."""
    if len(sets) > 1:
        reason = f"{' and '.join(sets)} have such a file; put it into a folder of its set's name"
        return Line(file.name, 'missing', f'not covered: {reason}')
    for name in sets or SETS:
        if reason := golden_set(name).not_covered.get(file.name):
            return Line(file.name, 'ok' if in_folder else 'missing', f'not covered: {reason}')
    whose = f'{sets[0]} has no check of a file of this name' if sets else 'no check is known for it'
    return Line(file.name, 'missing', f'not covered: {whose}')
