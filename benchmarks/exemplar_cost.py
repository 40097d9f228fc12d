"""What examples cost beside an encoder pass: 150 classes of 20 exemplars each, on one core.

    python benchmarks/exemplar_cost.py                # ViT-B/16 with random weights, 336 pixels
    python benchmarks/exemplar_cost.py --classes 20 --rounds 3

Each round encodes an image and scores its patches by words and by each rule; medians of the rounds.
A rule is made once a vocabulary (``made``); rns is fitted to each image (its steps bound that).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch.nn import functional as F

from ovseg.exemplars import RULES, Bank, EncoderIdentity
from ovseg.exemplars.pooling import Pooled
from ovseg.segmentors import TrainingFreeSegmentor
from ovseg.text import Classifier
from ovseg.vocabulary import Vocabulary


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints a table in Markdown.

    Args:
        argv: the words; None for the process's own.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='ViT-B-16', help="of open_clip's, random weights")
    parser.add_argument('--size', type=int, default=336, help='side of the image')
    parser.add_argument('--classes', type=int, default=150)
    parser.add_argument('--exemplars', type=int, default=20, help='a class')
    parser.add_argument('--samples', type=int, default=32, help='patches kept of an exemplar')
    parser.add_argument('--rounds', type=int, default=5)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = TrainingFreeSegmentor({'model': args.model, 'pretrained': 'random'}).eval()
    image = torch.randn(1, 3, args.size, args.size)
    with torch.inference_mode():
        dim = model.extract_feat(image).shape[1]
        names = [f'class {number}' for number in range(args.classes)]
        rows = F.normalize(torch.randn(args.classes, dim), dim=1)
        words = Classifier(rows, torch.arange(args.classes), args.classes, 100.0)
        bank = _bank(args, dim, names, rows)
        vocabulary = Vocabulary.parse([[name] for name in names])
        made, classifiers = {'words': 0.0}, {'words': words}
        for name, rule in RULES.items():
            start = time.perf_counter()
            classifiers[name] = rule(bank.support(words, vocabulary))
            made[name] = time.perf_counter() - start
        times = defaultdict(list)
        for _ in range(args.rounds):
            start = time.perf_counter()
            features = model.extract_feat(image)
            times['encoder'].append(time.perf_counter() - start)
            for name, classifier in classifiers.items():
                start = time.perf_counter()
                classifier.row_scores(features)
                times[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in times.items()}
    patches = features.shape[2] * features.shape[3]
    print(f'{args.model}, {args.size} pixels, {patches} patches, {len(bank)} exemplars')
    print(f'of {args.classes} classes; encoder {1000 * median["encoder"]:.0f} ms')
    print('\n| rule | made once, s | scores, ms | more than words, % of the encoder |')
    print('|---|---|---|---|')
    for name, seconds in made.items():
        more = 100 * (median[name] - median['words']) / median['encoder']
        print(f'| {name} | {seconds:.2f} | {1000 * median[name]:.1f} | {more:.1f} |')


def _bank(args, dim, names, rows):
    """A bank of made-up vectors: an image a round, of all classes."""
    bank = Bank.empty(EncoderIdentity('0' * 32, 'made up'), dim)
    count = args.classes
    for number in range(args.exemplars):
        patches = rows[:, None] + 0.05 * torch.randn(count, args.samples, dim)
        patches = F.normalize(patches, dim=2)
        pooled = Pooled(
            classes=torch.arange(count),
            vectors=F.normalize(patches.mean(1), dim=1),
            lengths=torch.ones(count),
            patches=torch.full((count,), float(args.samples)),
            samples=patches.flatten(0, 1),
            sample_of=torch.arange(count).repeat_interleave(args.samples),
            context=patches.flatten(0, 1).mean(0),
        )
        bank = bank.with_image(pooled, names, f'image {number}')
    return bank


if __name__ == '__main__':
    main()
