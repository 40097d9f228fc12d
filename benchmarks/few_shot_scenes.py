"""Few examples a class on Scenes: mIoU of each rule, with support for all classes and for half.

    python benchmarks/few_shot_scenes.py                        # the table of docs/examples.md
    python benchmarks/few_shot_scenes.py --images 1 --seeds 1 --scenes 5

Support is drawn from the scenes of the training split: classes in random order, for each of them
images in random order until so many show it; an image counts for all classes that it shows. The
test is on scenes of the validation split. mIoU is over the classes that the test shows: all,
those with examples (supported), those without.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch

from ovseg.apis.segmenter import OpenVocabSegmenter
from ovseg.exemplars import RULES, Bank, Rule
from ovseg.scenes.datasets import CLASSES, class_labels
from ovseg.scenes.draw import draw
from ovseg.scenes.world import sample_scene
from ovseg.segmentors.exemplar_features import pool_encoding

# Scenes that support is drawn from.
_POOL = 200
_SEEDS = (100, 18, 42, 84)


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints a table in Markdown.

    Args:
        argv: the words; None for the process's own.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='maskclip-tiny')
    parser.add_argument('--images', type=int, nargs='+', default=[1, 5, 20], help='a class')
    parser.add_argument('--seeds', type=int, default=3, help='how many draws, at most 4')
    parser.add_argument('--scenes', type=int, default=40, help='of the test')
    parser.add_argument('--rules', nargs='+', default=list(RULES))
    parser.add_argument(
        '--support', type=int, nargs='+', default=[17, 8], help='how many classes have examples'
    )
    args = parser.parse_args(argv)
    segmenter = OpenVocabSegmenter(args.model, device='cpu', precision='float32')
    words, _ = segmenter.question(list(CLASSES))
    test = [_encoded(segmenter, 'val', number) for number in range(args.scenes)]
    pool = [_encoded(segmenter, 'train', number) for number in range(_POOL)]
    taught = segmenter.model.taught
    found: dict[tuple[str, int, int], list[tuple[float, float, float]]] = defaultdict(list)

    def measure(bank: Bank | None, supported: set[int], key: tuple[str, int, int]) -> None:
        taught.bank = bank
        classifier = segmenter.model.build_classifier(words)
        ious = _ious(segmenter, classifier, test)
        has = torch.tensor([label in supported for label in range(len(CLASSES))])
        found[key].append(tuple(_mean(ious[chosen]) for chosen in (has | ~has, has, ~has)))

    for seed in _SEEDS[: args.seeds]:
        random = np.random.default_rng(seed)
        order = random.permutation(len(CLASSES)).tolist()
        for having in args.support:
            supported = order[:having]
            measure(None, set(supported), ('text', 0, having))
            for count in args.images:
                chosen = _draw_support(pool, supported, count, random)
                bank = _bank_of(taught.or_empty(_dim(pool)), pool, chosen, supported)
                for rule in args.rules:
                    taught.rule = Rule(rule)
                    measure(bank, set(supported), (rule, count, having))
    print(f'{args.model}, {args.scenes} scenes, {args.seeds} draws; mIoU all (with / without)\n')
    titles = [f'{having} classes have some' for having in args.support]
    print(f'| rule | images a class | {" | ".join(titles)} |')
    print(f'|---|---|{"---|" * len(args.support)}')
    for rule, count in dict.fromkeys((rule, count) for rule, count, _ in found):
        cells = [_cell(found[rule, count, having]) for having in args.support]
        print(f'| {rule} | {count} | {" | ".join(cells)} |')


def _encoded(segmenter, split, number):
    """An encoded scene and its labels."""
    scene = sample_scene(split, number)
    picture = draw(scene)
    labels = torch.from_numpy(class_labels(scene, picture)).long()
    return segmenter.encode(np.ascontiguousarray(picture.image)), labels


def _dim(pool):
    return pool[0][0].encoding.features.patch.shape[1]


def _draw_support(pool, supported, count, random):
    """Numbers of images, and which classes each was drawn to have."""
    shows = [set(labels.unique().tolist()) for _, labels in pool]
    chosen: list[int] = []
    for label in supported:
        have = sum(label in shows[number] for number in chosen)
        for number in random.permutation(len(pool)).tolist():
            if have >= count:
                break
            if label in shows[number] and number not in chosen:
                chosen.append(number)
                have += 1
    return chosen


def _bank_of(bank, pool, chosen, supported):
    for number in chosen:
        image, labels = pool[number]
        kept = torch.where(torch.isin(labels, torch.tensor(supported)), labels, 255)
        pooled = pool_encoding(image.encoding, kept)
        bank = bank.with_image(pooled, CLASSES, f'train {number}')
    return bank


def _ious(segmenter, classifier, test):
    """IoU of each class in percent; NaN where the test does not show it."""
    count = len(CLASSES)
    confusion = torch.zeros(count, count, dtype=torch.int64)
    for image, labels in test:
        decision = segmenter.model.segment(image.encoding, tuple(labels.shape), classifier)
        pairs = labels.flatten() * count + decision.labels.cpu().flatten()
        confusion += torch.bincount(pairs, minlength=count * count).view(count, count)
    both = confusion.diagonal().double()
    truth = confusion.sum(1)
    return torch.where(truth > 0, 100 * both / (truth + confusion.sum(0) - both), torch.nan)


def _mean(values):
    kept = values[~values.isnan()]
    return float(kept.mean()) if len(kept) else float('nan')


def _cell(values):
    if not values:
        return '-'
    every, having, lacking = torch.tensor(values).nanmean(0).tolist()
    parts = [f'{value:.1f}' if value == value else '-' for value in (having, lacking)]
    spread = torch.tensor(values)[:, 0].std().item() if len(values) > 1 else 0.0
    return f'{every:.1f} ± {spread:.1f} ({parts[0]} / {parts[1]})'


if __name__ == '__main__':
    main()
