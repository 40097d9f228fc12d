"""Compares ovseg with the reference implementations on golden files that they computed.

    python tools/check_parity.py GOLDEN_FOLDER_OR_FILE...

Prints the largest absolute and relative error of each quantity. Exit code 0 if all are within the
tolerance that the golden files state, 1 if one is not or cannot be compared, 2 for bad input.
"""

from __future__ import annotations

import argparse
import sys

import torch

from ovseg.errors import EXIT_OK, EXIT_SOME_FAILED, run_cli


def main(argv: list[str] | None = None) -> int:
    """Runs the checks.

    Args:
        argv: command line; None for the process's own.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('paths', nargs='+', metavar='PATH', help='golden folders or .pt files')
    args = parser.parse_args(argv)
    torch.set_num_threads(1)  # as the golden numbers were made
    from ovseg.parity import check_path

    reports = []
    for path in args.paths:
        for report in check_path(path):
            print(report.text(), flush=True)
            reports.append(report)
    good = all(report.passed for report in reports)
    print('all quantities agree' if good else 'NOT all quantities agree')
    return EXIT_OK if good else EXIT_SOME_FAILED


if __name__ == '__main__':
    sys.exit(run_cli(main))
