"""Peak memory of labels for 847 classes at 2048 x 1024, in strips and the plain way.

    python benchmarks/many_classes_memory.py [--classes 847] [--size 1024 2048] [--way strips|plain]

The encoder runs first and is not counted: what is measured is how far the resident memory rises
above it while scores become labels. Each way runs in a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import torch

PLAIN_HELP = 'the plain way holds all classes at full size (7 GB by default)'


def status_megabytes(field: str) -> float:
    """A field of the process's memory status: ``VmHWM`` (peak) or ``VmRSS`` (now)."""
    with open('/proc/self/status') as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def forget_peak() -> None:
    """Lets the peak start again from what is resident now (Linux; elsewhere it stays)."""
    try:
        with open('/proc/self/clear_refs', 'w') as control:
            control.write('5')
    except OSError:
        print('the peak cannot be reset here: it includes the encoder')


def run(way: str, classes: int, size: tuple[int, int]) -> None:
    """Encodes an image, then makes labels one way, and prints the rise of the peak."""
    from ovseg.images import Images
    from ovseg.segmentors import TrainingFreeSegmentor
    from ovseg.vocabulary import Vocabulary

    torch.manual_seed(0)
    model = TrainingFreeSegmentor(clip={'model': 'ViT-B-16-quickgelu', 'pretrained': 'random'})
    rows = torch.nn.functional.normalize(torch.randn(classes, model.encoder.embed_dim), dim=1)
    from ovseg.text import classifier_from_rows

    vocabulary = Vocabulary.parse([[f'class {index}'] for index in range(classes)])
    classifier = classifier_from_rows(vocabulary, rows, 100.0, 'random rows')
    with torch.inference_mode():
        encoding = model.encode(Images(torch.randn(1, 3, *size)))[0]
        encoder_peak, before = status_megabytes('VmHWM'), status_megabytes('VmRSS')
        forget_peak()
        start = time.perf_counter()
        if way == 'strips':
            labels = model.segment(encoding, size, classifier).labels
        else:
            scores = classifier.row_scores(encoding.features.patch)
            scores = torch.nn.functional.interpolate(
                scores, size=size, mode='bilinear', align_corners=False
            )
            labels = scores.argmax(1)[0]
    print(
        f'{way:7}{classes} classes, {size[0]} x {size[1]}: {time.perf_counter() - start:6.1f} s, '
        f'+ {status_megabytes("VmHWM") - before:.0f} MB above what the features take '
        f'(the encoder itself peaked at {encoder_peak:.0f} MB), '
        f'labels checksum {int(labels.sum())}'
    )


def main() -> None:
    """Runs both ways, each in its own process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--classes', type=int, default=847)
    parser.add_argument('--size', type=int, nargs=2, default=(1024, 2048), metavar=('H', 'W'))
    parser.add_argument('--way', choices=('strips', 'plain'), help=PLAIN_HELP)
    args = parser.parse_args()
    if args.way:
        run(args.way, args.classes, tuple(args.size))
        return
    for way in ('strips', 'plain'):
        subprocess.run([sys.executable, __file__, *sys.argv[1:], '--way', way], check=True)


if __name__ == '__main__':
    main()
