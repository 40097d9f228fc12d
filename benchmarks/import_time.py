"""How much longer `import ovseg` takes than importing torch and mmseg alone.

Each import runs in a fresh process, the two kinds in turn, so that a busy machine slows both. Run:

    python benchmarks/import_time.py --repeats 15
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
from pathlib import Path

BASELINE = 'import torch, mmseg'
OURS = 'import ovseg, torch, mmseg'
OURS_ALONE = 'import ovseg'
FIRST_USE = 'from ovseg import OpenVocabSegmenter'

_TIMED = """
import time
start = time.perf_counter()
{statement}
print(time.perf_counter() - start)
"""


def seconds(statement: str) -> float:
    """Time of one import statement in a fresh process, without the start of Python itself."""
    done = subprocess.run(
        [sys.executable, '-c', _TIMED.format(statement=statement)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[1],  # a checkout need not be installed
    )
    return float(done.stdout)


def main() -> None:
    """Print the medians and the difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--repeats', type=int, default=15, help='fresh processes of each kind')
    repeats = parser.parse_args().repeats

    times: dict[str, list[float]] = {BASELINE: [], OURS: [], OURS_ALONE: [], FIRST_USE: []}
    for statement in times:
        seconds(statement)  # fills the file cache, not counted
    for _ in range(repeats):
        for statement, series in times.items():
            series.append(seconds(statement))

    medians = {statement: statistics.median(series) for statement, series in times.items()}
    print(f'Python {platform.python_version()}, {platform.machine()}, {repeats} processes of each')
    for statement, series in times.items():
        print(
            f'{statement:<37} median {medians[statement]:.3f} s '
            f'(from {min(series):.3f} to {max(series):.3f})'
        )
    print(f'difference of the first two medians: {medians[OURS] - medians[BASELINE]:+.3f} s')


if __name__ == '__main__':
    main()
