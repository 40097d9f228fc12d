"""Images a second: ``ovseg segment FOLDER`` against ``ovseg label``, in alternation.

Each run is a process of its own that labels a folder of Scenes pictures; its start and the loading
of the model are in its time. Processor time is told beside the clock's, because others may use the
machine meanwhile. Run:

    python benchmarks/many_images.py --images 500 --save labels,json
    python benchmarks/many_images.py --before ../older-checkout    # its `segment` is the old way

Memory, by the number of images, tiny ones: what stays when more are done, and what a name costs::

    python benchmarks/many_images.py --memory 1000 20000
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
        picture = _scene(index)
        assert picture.shape[:2] == (CANVAS, CANVAS)
        Image.fromarray(picture).save(folder / f'{index:05d}.png')


def _scene(index: int) -> np.ndarray:
    scene = sample_scene('val', index)
    return draw(scene, whole(scene, 1)).image


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


@dataclass(frozen=True)
class Memory:
    """What a run held, in bytes.

    Attributes:
        begun: when the first thousand were done, or all there are.
        ended: when nearly all were done.
        peak: the most.
    """

    begun: int
    ended: int
    peak: int


def memory_of(photos: Path, out: Path, images: int) -> Memory:
    """Runs ``ovseg label`` with a model that has little to do, and watches it.

    Args:
        photos: the folder of the images.
        out: for the results; the config of the model is written beside it.
        images: how many there are.
    """
    model = out.with_suffix('.py')
    # One window an image.
    model.write_text(
        f"_base_ = '{ROOT / 'configs' / 'maskclip' / 'maskclip_tiny.py'}'\n"
        'resize = dict(scale=(32, 32), keep_ratio=True)\n',
        encoding='utf-8',
    )
    command = [sys.executable, '-m', 'ovseg', 'label', str(photos), WORDS, '--out-dir', str(out)]
    command += [
        '--model',
        str(model),
        '--on',
        'images',
        '--save',
        'labels,json',
        '--set-files',
        'coco',
        '--quiet',
    ]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    begun = ended = 0
    with subprocess.Popen(command, env=environment) as process:
        while process.poll() is None:
            time.sleep(0.2)
            done, held = _lines(out / 'found.jsonl'), _resident(process.pid)
            if held and done:
                ended = held
                begun = held if done < 1000 or not begun else begun
    assert process.returncode == 0 and _lines(out / 'found.jsonl') == images
    # Of children that ended, the largest: runs go from few images to many.
    peak = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return Memory(begun, ended, peak)


def tell_memory(args: argparse.Namespace, folder: Path) -> None:
    """Prints what runs over few and over many images hold.

    Args:
        args: of the command line.
        folder: for pictures and results.
    """
    tiny = [Image.fromarray(_scene(index)).resize((16, 16)) for index in range(50)]
    rows, peaks, counts = [], [], sorted(args.memory)
    for images in counts:
        photos = folder / f'photos_{images}'
        for index in range(images):
            place = photos / f'{index // 1000:03d}' / f'{index:06d}.png'
            place.parent.mkdir(parents=True, exist_ok=True)
            tiny[index % len(tiny)].save(place)
        memory = memory_of(photos, folder / f'out_{images}', images)
        peaks.append(memory.peak)
        rows.append((str(images), *(f'{part / 2**20:.0f} MB' for part in vars(memory).values())))
    print(text_table(('images', 'after the first thousand', 'at the end', 'peak'), rows))
    if len(peaks) > 1:
        each = (peaks[-1] - peaks[0]) / (counts[-1] - counts[0])
        print(f'{each:.0f} bytes of the peak for each further image')


def _lines(path: Path) -> int:
    return path.read_bytes().count(b'\n') if path.exists() else 0


def _resident(process: int) -> int:
    """Bytes that a process holds now; 0 where it has ended."""
    try:
        pages = int(Path(f'/proc/{process}/statm').read_text(encoding='ascii').split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf('SC_PAGE_SIZE')


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
    parser.add_argument(
        '--memory',
        type=int,
        nargs='+',
        metavar='IMAGES',
        help='measure memory over so many tiny pictures instead of time',
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (compare if args.memory is None else tell_memory)(args, Path(folder))


if __name__ == '__main__':
    main()
