"""Which checkpoint of a work folder a training goes on from: the newest that is intact."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from mmengine.config import Config

from ovseg.engine.finite import non_finite_state
from ovseg.errors import UserError
from ovseg.weight_files import read_checkpoint

RECORD = 'last_checkpoint'
_STEP = re.compile(r'(?:iter|epoch)_(\d+)(?:_iter_(\d+))?\.pth')
_OF_A_TRAINING = ('meta', 'message_hub')


def latest_checkpoint(folder: str | Path, say: Callable[[str], object] = print) -> Path | None:
    """The newest intact checkpoint of a training in ``folder``, or None if there never was one.

    The highest iteration or epoch is the newest, unless ``last_checkpoint`` names a lower one that
    was written later: then the higher ones are of an earlier training in this folder. Files
    elsewhere are never taken, whatever ``last_checkpoint`` says.

    Args:
        folder: where the checkpoints are.
        say: is told, in a sentence each, what was passed over and why.

    Raises:
        UserError: there are checkpoints or one is recorded, but none is intact.
    """
    folder = Path(folder)
    recorded, doubt = _recorded(folder)
    if doubt:
        say(doubt)
    problems = []
    for path in _newest_first(folder, recorded):
        problem = _problem(path)
        if problem is None:
            return path
        problems.append(f'{path.name} {problem}')
        say(f'skipped {path}, which {problem}')
    if problems:
        raise UserError(
            f'no checkpoint in {folder} is intact ({"; ".join(problems[:3])}); bring one back from '
            'a copy, or start again in another --work-dir'
        )
    if recorded is not None:
        raise UserError(
            f'{folder / RECORD} names {recorded.name}, but there is no checkpoint in {folder}; '
            f'bring it back, or remove {RECORD} to start from the beginning'
        )
    return None


def checkpoint_folder(config: Config) -> Path:
    """Where a training writes its checkpoints: the work folder, or one of its name elsewhere.

    Args:
        config: with ``work_dir``; ``default_hooks.checkpoint.out_dir`` moves the checkpoints.
    """
    work_dir = Path(config.work_dir)
    elsewhere = (config.get('default_hooks') or {}).get('checkpoint') or {}
    out_dir = elsewhere.get('out_dir')
    return work_dir if out_dir in (None, config.work_dir) else Path(out_dir) / work_dir.name


def _problem(path: Path) -> str | None:
    """Why there is nothing to go on from in a file, None if there is; its checksums are compared.

    The end of a sentence that starts with the file.
    """
    try:
        content = read_checkpoint(path)
        absent = [part for part in _OF_A_TRAINING if part not in content]
        if absent:
            return f"has no '{absent[0]}' of a training"
        meta, hub = (content[part] for part in _OF_A_TRAINING)
        if not isinstance(meta, Mapping) or type(meta.get('iter')) is not int:
            return 'does not say in which iteration it was written'
        if not isinstance(hub, Mapping):
            return 'has no records of a training'
    except (UserError, FileNotFoundError) as error:
        # Without its advice, which is for somebody who has this file only.
        return str(error).removeprefix(str(path)).strip().partition('; ')[0]
    except OSError as error:
        return f'cannot be read ({error.strerror or error})'
    found = non_finite_state(content)
    return f"holds NaN or infinite values in '{found}'" if found else None


def _recorded(folder: Path) -> tuple[Path | None, str | None]:
    """The checkpoint of this folder that the record names, and what is wrong with the record."""
    record = folder / RECORD
    if not os.path.isfile(record):
        return None, None
    try:
        with open(record, encoding='utf-8') as file:
            named = file.read(4096).strip()
        foreign = bool(named) and not _same_folder(Path(named).parent, folder)
    except (OSError, ValueError):
        return None, f'{record} cannot be read; the newest checkpoint beside it is taken'
    if not named or '\n' in named or not named.isprintable():
        return None, f'{record} names no checkpoint; the newest one beside it is taken'
    if foreign:
        return None, f'{record} names {named}, which is not in this folder and is not taken'
    return folder / Path(named).name, None


def _same_folder(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _newest_first(folder: Path, recorded: Path | None) -> list[Path]:
    steps = _steps(folder.glob('*.pth'))
    if recorded is not None and recorded not in steps and os.path.lexists(recorded):
        steps[recorded] = (0, 0)  # named by a template of the config's own

    if recorded not in steps:
        return sorted(steps, key=lambda path: steps[path], reverse=True)
    written = {path: path.lstat().st_mtime_ns for path in steps}

    def key(path: Path) -> tuple[bool, tuple[int, int]]:
        is_earlier = steps[path] > steps[recorded] and written[path] < written[recorded]
        return not is_earlier, steps[path]

    return sorted(steps, key=key, reverse=True)


def _steps(paths: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """Checkpoints that are named by their step, and the steps: (epoch or iteration, rest)."""
    found = {path: _STEP.fullmatch(path.name) for path in paths}
    return {path: (int(step[1]), int(step[2] or 0)) for path, step in found.items() if step}
