"""Compares ovseg with the reference implementations on golden files that they computed.

    python tools/check_parity.py GOLDEN_FOLDER_OR_FILE...
    python tools/check_parity.py --all FOLDER_OF_GOLDEN_FOLDERS

Prints the largest absolute and relative error of each quantity. Exit code 0 if all are within the
tolerance that the golden files state, 1 if one is not or cannot be compared, 2 for bad input.
The checks are a developer's and lie in the checkout (``tests/parity``), not in the package.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ovseg.errors import EXIT_OK, EXIT_SOME_FAILED, UserError, run_cli

TESTS = Path(__file__).resolve().parents[1] / 'tests'


def main(argv: list[str] | None = None) -> int:
    """Runs the checks.

    Args:
        argv: command line; None for the process's own.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('paths', nargs='*', metavar='PATH', help='golden folders or .pt files')
    parser.add_argument(
        '--all',
        metavar='FOLDER',
        help='every golden folder in it that has checks; those that have none yet are named',
    )
    args = parser.parse_args(argv)
    if not args.paths and args.all is None:
        parser.error('give golden folders or .pt files, or --all with a folder of golden folders')
    if not os.path.isdir(TESTS / 'parity'):
        raise UserError(
            f'{TESTS / "parity"} does not exist: the parity checks are not part of the package; '
            'run tools/check_parity.py of a checkout of ovseg'
        )
    if str(TESTS) not in sys.path:
        sys.path.insert(0, str(TESTS))
    import torch
    from parity import check_path, golden_folders

    torch.set_num_threads(1)  # as the golden numbers were made
    covered, without = golden_folders(args.all) if args.all is not None else ([], [])
    good = True
    for path in [*covered, *args.paths]:
        for report in check_path(path):
            print(report.text(), flush=True)
            good &= report.passed
    if without:
        print(f'no check yet: {", ".join(without)}')
    print('all quantities agree' if good else 'NOT all quantities agree')
    return EXIT_OK if good else EXIT_SOME_FAILED


if __name__ == '__main__':
    sys.exit(run_cli(main))
