"""A tiny SAM 3 on Scenes: each rule, asking fewer classes, presence, none of these, asking again.

    python benchmarks/sam3_on_scenes.py work_dirs/tiny_sam3_scenes.safetensors
    python benchmarks/sam3_on_scenes.py work_dirs/tiny_sam3_scenes.safetensors --parts recall

It was trained on phrases of this world and the masks of what they name, so its numbers stand beside
those of models that saw labels. Asking fewer: the tiny CLIP looks once; thresholds are chosen on
scenes beyond those that are measured. FLOPs are counted on the tiny sizes, phrases cached.
None of these: three materials and five objects are left out of the words, and a pixel is rejected
where its best class scores below the threshold.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ovseg.encoders.embedded import read_embedded
from ovseg.encoders.sam3 import EMBEDDED
from ovseg.encoders.sam3_cost import ConceptCost, count_cost
from ovseg.evaluation.areas import Areas, confusion_matrix
from ovseg.evaluation.none_of_these import none_scores
from ovseg.images import Images
from ovseg.scenes.datasets import CLASSES, class_labels
from ovseg.scenes.draw import draw
from ovseg.scenes.world import MATERIALS, OBJECTS, sample_scene
from ovseg.scores.preselection import (
    KeepRule,
    RecallPoint,
    recall_at,
    recall_curve,
    threshold_for,
)
from ovseg.segmentors import SAM3Segmentor
from ovseg.segmentors.sam3_rules import RULES
from ovseg.vocabulary import Rejection, Vocabulary

# Looks as configs/maskclip/maskclip_tiny.py does.
DENSE = {
    'type': 'TrainingFreeSegmentor',
    'clip': {'model': 'tiny_clip_scenes', 'pretrained': 'embedded'},
    'encoder': {'last_block': {'attention': 'kk', 'residual': True, 'ffn': True}},
    'text': {'templates': 'a(n) {}'},
    'test_cfg': {'mode': 'slide', 'crop_size': (32, 32), 'stride': (16, 16), 'window_batch': 256},
}
LEFT_OUT = ('sand', 'snow', 'brick wall', *OBJECTS[5:])
RECALLS = (0.9, 0.99, 0.999)
Scenes = list[tuple[Tensor, Tensor]]


def scenes(first: int, count: int) -> Scenes:
    """Pictures (3, H, W) uint8 of the validation split with their labels (H, W)."""
    found = []
    for number in range(first, first + count):
        scene = sample_scene('val', number)
        picture = draw(scene)
        image = torch.from_numpy(np.ascontiguousarray(picture.image)).permute(2, 0, 1)
        found.append((image, torch.from_numpy(class_labels(scene, picture)).long()))
    return found


@dataclass(frozen=True)
class Asked:
    """Which weights are measured, and the side of their frame in pixels."""

    weights: Path
    size: int


def model_of(asked: Asked, **settings: Any) -> SAM3Segmentor:
    """A segmentor of the weights in question, asked for all classes of Scenes."""
    hypernyms = {'context': {'hypernyms': 0}} if settings.get('rule') == 'activesam' else {}
    weights = {'model': EMBEDDED[0], 'pretrained': asked.weights}
    given = {'sam3': weights, 'image_size': asked.size, **hypernyms, **settings}
    return SAM3Segmentor(text={'cache_dir': None}, vocabulary=list(CLASSES), **given).eval()


def encode(model: SAM3Segmentor, image: Tensor) -> Any:
    """An image after the model's encoder."""
    own = model.data_preprocessor
    return model.encode(Images((image[None].float() - own.mean) / own.std))[0]


def matrix_of(model: SAM3Segmentor, data: Scenes) -> Tensor:
    """Confusion matrix (K, K + 1) over scenes."""
    total = torch.zeros(len(CLASSES), len(CLASSES) + 1, dtype=torch.int64)
    for image, truth in data:
        labels = model.segment(encode(model, image), tuple(truth.shape)).labels
        total += confusion_matrix(labels.long(), truth, len(CLASSES))
    return total


def miou(model: SAM3Segmentor, data: Scenes) -> tuple[str, float]:
    """Columns mIoU, materials, objects, and seconds an image."""
    start = time.perf_counter()
    iou = 100 * Areas.of_matrix(matrix_of(model, data)).iou
    seconds = (time.perf_counter() - start) / len(data)
    split = len(MATERIALS)
    means = [each[~each.isnan()].mean() for each in (iou, iou[:split], iou[split:])]
    return ' | '.join(f'{float(mean):.1f}' for mean in means), seconds


def rules(asked: Asked, data: Scenes) -> None:
    """MIoU of each rule; that of ConceptBank without a bank, CoCo's competition as it is here."""
    print('| rule | mIoU | materials | objects | s an image |\n|---|---|---|---|---|')
    for rule in RULES:
        model = model_of(asked, rule=rule)
        columns, seconds = miou(model, data)
        print(f'| `{rule}` | {columns} | {seconds:.2f} |', flush=True)


def presence(asked: Asked, data: Scenes) -> None:
    """How often presence is right of classes that are there and of others."""
    model = model_of(asked)
    right: dict[bool, list[bool]] = {True: [], False: []}
    for image, truth in data:
        encoding, phrases = encode(model, image), model.classifier.asked
        heads = model.sam3.ask(encoding.features, phrases, ('presence',))
        assert heads.presence is not None  # asked for
        for label, value in enumerate(heads.presence.tolist()):
            is_there = bool((truth == label).any())
            right[is_there].append((value > 0) == is_there)
    there, absent = (100 * sum(each) / len(each) for each in (right[True], right[False]))
    print(f'\nPresence right of classes there: {there:.1f} %, of others: {absent:.1f} %.')


@dataclass(frozen=True)
class Look:
    """What a dense look says of scenes, and what asking the classes that it finds would cost.

    Attributes:
        values: (K,) of each scene that is measured.
        counts: (K,) labelled pixels of each class, likewise.
        thresholds: by the recall of pixels, chosen on other scenes.
        flops: of the look itself.
        cost: of SAM 3.
    """

    values: list[Tensor]
    counts: list[Tensor]
    thresholds: dict[float, float]
    flops: float
    cost: ConceptCost

    def point(self, threshold: float) -> RecallPoint:
        """Recall at a threshold, on the measured scenes."""
        rule = KeepRule(threshold, 1, None)
        return recall_at([rule.kept(each) for each in self.values], self.counts)


def looked(asked: Asked, model: SAM3Segmentor, data: Scenes, others: Scenes) -> Look:
    """The dense look at scenes, and thresholds of other scenes."""
    dense = model.preselection
    assert dense is not None  # of this model

    def look(part: Scenes) -> tuple[list[Tensor], list[Tensor]]:
        return (
            [dense.scores({}, image, model.vocabulary) for image, _ in part],
            [torch.bincount(truth.flatten(), minlength=len(CLASSES)) for _, truth in part],
        )

    before = look(others)
    thresholds = {recall: threshold_for(*before, recall) for recall in RECALLS}
    with FlopCounterMode(display=False) as counter:
        dense.scores({}, data[0][0], model.vocabulary)
    facts, _ = read_embedded(asked.weights.stem, asked.weights.parent, 'sam3')
    cost = count_cost(asked.size, facts['model'])
    return Look(*look(data), thresholds, counter.get_total_flops(), cost)


def preselecting(asked: Asked) -> SAM3Segmentor:
    """A segmentor that the tiny CLIP tells what may be there."""
    bounds = {'threshold': 0.0, 'at_least': 1, 'at_most': None}
    return model_of(asked, preselection={'model': DENSE, 'side': 144, **bounds})


def recall(asked: Asked, data: Scenes, others: Scenes) -> None:
    """Recall against the number of classes asked; SAM 3's weights play no part in it."""
    seen = looked(asked, preselecting(asked), data, others)
    at = (1, 2, 3, 4, 5, 6, 8, 10, 12, 17)
    chance = recall_curve([torch.rand(len(CLASSES)) for _ in data], seen.counts, at)
    print('\n| asked of 17 | classes | pixels | pixels by chance |\n|---|---|---|---|')
    for number, point, other in zip(
        at, recall_curve(seen.values, seen.counts, at), chance, strict=True
    ):
        print(f'| {number} | {point.classes:.3f} | {point.pixels:.3f} | {other.pixels:.3f} |')
    print('\n| threshold for | asked of 17 | classes | pixels | GFLOP |\n|---|---|---|---|---|')
    every = seen.cost.asking(len(CLASSES)) / 1e9
    print(f'| all | 17 | 1 | 1 | {every:.2f} |')
    for wanted, threshold in seen.thresholds.items():
        point = seen.point(threshold)
        number = point.asked * len(CLASSES)
        flops = (seen.flops + seen.cost.image + number * seen.cost.phrase) / 1e9
        print(
            f'| {wanted:g}: {threshold:.3f} | {number:.1f} | {point.classes:.3f} | '
            f'{point.pixels:.3f} | {flops:.2f} |'
        )
    print(f'| the look alone | 0 | | | {seen.flops / 1e9:.2f} |', flush=True)


def preselected(asked: Asked, data: Scenes, others: Scenes) -> None:
    """Asking fewer at three recalls, against all, none, and ActiveSAM's preview."""
    model = preselecting(asked)
    seen = looked(asked, model, data, others)
    assert model.preselection is not None  # of this model
    print('\n| asked | mIoU | materials | objects | s an image |\n|---|---|---|---|---|')

    def row(name: str, own: SAM3Segmentor) -> None:
        columns, seconds = miou(own, data)
        print(f'| {name} | {columns} | {seconds:.2f} |', flush=True)

    row('all (full)', model)
    model.set_budget('preselected')
    for wanted, threshold in seen.thresholds.items():
        model.preselection.keep = KeepRule(threshold, 1, None)
        row(f'recall {wanted:g}', model)
    model.set_budget('dense')
    row('none (dense)', model)
    # The preview drops phrases only above its bound, which 17 do not reach as published.
    preview = {'size': asked.size * 2 // 3, 'at_most': 5}
    row("ActiveSAM's preview, 5 at most", model_of(asked, rule='activesam', preview=preview))


def none_of_these(asked: Asked, data: Scenes) -> None:
    """IoU of what is left out of the words, by the threshold and the rule."""
    kept = [name for name in CLASSES if name not in LEFT_OUT]
    number = {name: place for place, name in enumerate(kept)}
    of_class = torch.tensor([number.get(name, len(kept)) for name in CLASSES])
    print('\n| rule | t | none IoU | known mIoU | harmonic |\n|---|---|---|---|---|')
    for rule in ('semantic', 'semantic_presence', 'segearth'):
        model = model_of(asked, rule=rule)
        encoded = [(encode(model, image), truth) for image, truth in data]
        for threshold in (0.1, 0.3, 0.5):
            words = Vocabulary.parse(kept).with_rejection(Rejection('threshold', threshold))
            question = model.build_classifier(words)
            total = torch.zeros(len(kept) + 1, len(kept) + 2, dtype=torch.int64)
            for encoding, truth in encoded:
                labels = model.segment(encoding, tuple(truth.shape), question).labels.long()
                names = [words.names[label] for label in range(len(words.names))]
                own = torch.tensor([number.get(name, len(kept)) for name in names])[labels]
                total += confusion_matrix(own, of_class[truth], len(kept) + 1)
            found = none_scores(Areas.of_matrix(total), len(kept))
            columns = ' | '.join(f'{value:.1f}' for value in found.values())
            print(f'| `{rule}` | {threshold} | {columns} |', flush=True)


def again(asked: Asked, data: Scenes) -> None:
    """Seconds of encoding, of the first question, and of questions after it."""
    model = model_of(asked)
    first = model.classifier
    stricter = model.build_classifier(model.vocabulary.with_rejection(Rejection('threshold', 0.5)))
    fewer = model.build_classifier(Vocabulary.parse(['red star', *CLASSES[:-1]]))
    names = ('encode', 'first question', 'the same', 'a threshold', 'one new phrase')
    spent = dict.fromkeys(names, 0.0)
    for image, truth in data:
        start = time.perf_counter()
        encoding = encode(model, image)
        spent['encode'] += time.perf_counter() - start
        for name, question in zip(names[1:], (first, first, stricter, fewer), strict=True):
            start = time.perf_counter()
            model.segment(encoding, tuple(truth.shape), question)
            spent[name] += time.perf_counter() - start
    print('\n' + ', '.join(f'{name} {total / len(data):.3f} s' for name, total in spent.items()))


PARTS: dict[str, Callable[..., None]] = {
    'rules': rules,
    'presence': presence,
    'recall': recall,
    'preselected': preselected,
    'none': none_of_these,
    'again': again,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints tables in Markdown.

    Args:
        argv: the words; None for the process's own.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('weights', type=Path, help='of tools/export.py tiny-sam3')
    parser.add_argument('--scenes', type=int, default=40, help='of the validation split')
    parser.add_argument('--size', type=int, default=96, help="side of the model's frame in pixels")
    parser.add_argument('--parts', nargs='*', choices=list(PARTS), default=list(PARTS))
    args = parser.parse_args(argv)
    torch.manual_seed(0)
    asked = Asked(args.weights, args.size)
    data, others = scenes(0, args.scenes), scenes(1000, args.scenes)
    with torch.no_grad():
        for part in args.parts:
            both = (data, others) if part in ('recall', 'preselected') else (data,)
            PARTS[part](asked, *both)


if __name__ == '__main__':
    main()
