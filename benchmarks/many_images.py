"""Images a second: ``ovseg segment FOLDER`` against ``ovseg label``, in alternation.

Each run is a process of its own that labels a folder of Scenes pictures; its start and the loading
of the model are in its time. Processor time is told beside the clock's, because others may use the
machine meanwhile. Run:

    python benchmarks/many_images.py --images 500 --save labels,json
    python benchmarks/many_images.py --before ../older-checkout    # its `segment` is the old way
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from ovseg.cli.parsers import new_parser
from ovseg.scenes.draw import draw, whole
from ovseg.scenes.world import CANVAS, MATERIALS, OBJECTS, sample_scene
from ovseg.tables import text_table

ROOT = Path(__file__).resolve().parents[1]
WORDS = '; '.join([*MATERIALS, *OBJECTS])


@dataclass(frozen=True)
class Cost:
    """What a run took.

    Attributes:
        seconds: by the clock.
        processor: seconds of processor time, of all cores together.
    """

    seconds: float
    processor: float


def write_scenes(folder: Path, images: int) -> None:
    """Draws validation scenes as PNG files.

    Args:
        folder: of the files.
        images: how many.
    """
    for index in range(images):
        scene = sample_scene('val', index)
        picture = draw(scene, whole(scene, 1)).image
        assert picture.shape[:2] == (CANVAS, CANVAS)
        Image.fromarray(picture).save(folder / f'{index:05d}.png')


def cost_of(words: list[str], checkout: Path) -> Cost:
    """Runs ``ovseg`` of a checkout.

    Args:
        words: behind ``ovseg``.
        checkout: whose package runs.
    """
    command = [sys.executable, '-m', 'ovseg', *words, '--quiet', '--precision', 'float32']
    used, begun = _processor_time(), time.monotonic()
    subprocess.run(command, env={**os.environ, 'PYTHONPATH': str(checkout)}, check=True)
    return Cost(time.monotonic() - begun, _processor_time() - used)


def differing(first: Path, second: Path) -> int:
    """How many label maps of two folders differ.

    Args:
        first: with ``*_labels.png``.
        second: with the same names.
    """
    names = sorted(path.name for path in first.glob('*_labels.png'))
    assert names == sorted(path.name for path in second.glob('*_labels.png'))
    return sum(
        not np.array_equal(np.array(Image.open(first / name)), np.array(Image.open(second / name)))
        for name in names
    )


def compare(args: argparse.Namespace, folder: Path) -> None:
    """Prints the table, and how many label maps differ.

    Args:
        args: of the command line.
        folder: for pictures and results.
    """
    photos = folder / 'photos'
    photos.mkdir()
    write_scenes(photos, args.images)
    ways = {
        'ovseg segment FOLDER': ('segment', args.before),
        'ovseg label': ('label', ROOT),
    }
    costs: dict[str, list[Cost]] = {way: [] for way in ways}
    for number in range(args.rounds):
        for way, (command, checkout) in ways.items():
            out = folder / f'{command}_{number}'
            words = [command, str(photos), WORDS, '--model', args.model]
            words += ['--save', args.save, '--out-dir', str(out)]
            costs[way].append(cost_of(words, checkout))
    rows = [
        (
            way,
            f'{args.images / median(cost.seconds for cost in some):.1f}',
            f'{1000 * median(cost.processor for cost in some) / args.images:.0f} ms',
        )
        for way, some in costs.items()
    ]
    print(text_table(('way', 'images/s', 'processor time an image'), rows))
    old, new = costs.values()
    ratios = [one.seconds / other.seconds for one, other in zip(old, new, strict=True)]
    print(
        f'{args.images} pictures, {len(os.sched_getaffinity(0))} cores, saved: {args.save}; '
        f'times as fast, round by round: {", ".join(f"{ratio:.2f}" for ratio in ratios)}'
    )
    if 'labels' in args.save:
        print(f'{differing(folder / "segment_0", folder / "label_0")} label maps differ')


def _processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Reads the words and compares."""
    parser = new_parser(__doc__, None)
    parser.add_argument('--images', type=int, default=500)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--model', default='maskclip-tiny')
    parser.add_argument('--save', default='labels,overlay,json')
    parser.add_argument(
        '--before', type=Path, default=ROOT, help='a checkout whose `ovseg segment` is the old way'
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(args, Path(folder))


if __name__ == '__main__':
    main()
