"""Which golden file is checked by what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from ovseg.errors import UserError
from ovseg.parity import maskclip, maskclip_plus
from ovseg.parity.report import Line, Report

# file name -> check(report, folder)
CHECKS: dict[str, Callable[[Report, Path], None]] = {
    'preprocess.pt': maskclip.check_preprocess,
    'vit_dense.pt': maskclip.check_weights_and_text,
    'resnet_dense.pt': maskclip.check_weights_and_text,
    'vit_dense_cases.pt': maskclip.check_vit_cases,
    'resnet_dense_cases.pt': maskclip.check_resnet_cases,
    'maskclip_variants.pt': maskclip.check_variants,
    'maskclip_plus.pt': maskclip_plus.check_training_steps,
}
# Files of methods that are not built yet. In a folder they are listed and do not fail it.
NOT_COVERED: dict[str, str] = {}


def check_path(path: str | Path) -> Iterator[Report]:
    """Checks a golden file, or every golden file of a folder.

    Args:
        path: a ``.pt`` file or a folder of them.

    Yields:
        A report a file.

    Raises:
        UserError: nothing to check there.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f'{path} does not exist; give a golden folder or files')
    files = sorted(path.glob('*.pt')) if path.is_dir() else [path]
    if not files:
        raise UserError(f'{path} holds no .pt file; give a golden folder or files')
    for file in files:
        if file.name in CHECKS:
            report = Report(torch.load(file, map_location='cpu', weights_only=True), str(file))
            CHECKS[file.name](report, file.parent)
            report.miss_unseen()
        else:
            report = Report({}, str(file))
            reason = NOT_COVERED.get(file.name, 'no check is known for a file of this name')
            known = file.name in NOT_COVERED and path.is_dir()
            report.lines.append(Line(file.name, 'ok' if known else 'missing', _note(reason)))
        yield report


def _note(reason: str) -> str:
    return f'not covered: {reason}'
