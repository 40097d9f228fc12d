"""A tiny SAM 3 on Scenes: each rule, asking fewer classes, presence, none of these, asking again.

    python benchmarks/sam3_on_scenes.py work_dirs/tiny_sam3_scenes.safetensors --scenes 20

It was trained on phrases of this world and the masks of what they name, so its numbers stand beside
those of models that saw labels. Asking fewer: the tiny CLIP looks once; thresholds are chosen on
scenes beyond those that are measured. FLOPs are counted on the tiny sizes, phrases cached.
None of these: three materials and five objects are left out of the words, and a pixel is rejected
where its best class scores below the threshold.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ovseg.encoders.embedded import read_embedded
from ovseg.encoders.sam3 import EMBEDDED
from ovseg.encoders.sam3_cost import count_cost
from ovseg.evaluation.areas import Areas, confusion_matrix
from ovseg.evaluation.none_of_these import none_scores
from ovseg.images import Images
from ovseg.scenes.datasets import CLASSES, class_labels
from ovseg.scenes.draw import draw
from ovseg.scenes.world import MATERIALS, OBJECTS, sample_scene
from ovseg.scores.preselection import recall_at, recall_curve, threshold_for
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


def preselected(asked: Asked, data: Scenes, others: Scenes) -> None:
    """Recall of the dense look, and asking fewer at three recalls against all."""
    bounds = {'at_least': 1, 'at_most': None}
    model = model_of(asked, preselection={'model': DENSE, 'side': 144, 'threshold': 0.0, **bounds})
    look = model.preselection
    assert look is not None  # just given

    def looked(part: Scenes) -> tuple[list[Tensor], list[Tensor]]:
        values = [look.scores({}, image, model.vocabulary) for image, _ in part]
        return values, [
            torch.bincount(truth.flatten(), minlength=len(CLASSES)) for _, truth in part
        ]

    values, counts = looked(data)
    chance = [torch.rand(len(CLASSES)) for _ in data]
    print('\n| asked of 17 | classes | pixels | pixels by chance |\n|---|---|---|---|')
    at = (2, 3, 4, 5, 6, 8, 10, 12, 17)
    points = zip(
        at, recall_curve(values, counts, at), recall_curve(chance, counts, at), strict=True
    )
    for number, point, other in points:
        print(f'| {number} | {point.classes:.3f} | {point.pixels:.3f} | {other.pixels:.3f} |')
    facts, _ = read_embedded(asked.weights.stem, asked.weights.parent, 'sam3')
    cost = count_cost(asked.size, facts['model'])
    with FlopCounterMode(display=False) as counter:
        look.scores({}, data[0][0], model.vocabulary)
    dense = counter.get_total_flops()
    print('\n| asked | mIoU | materials | objects | classes | pixels kept | GFLOP | s an image |')
    print('|---|---|---|---|---|---|---|---|')

    def row(name: str, asked: float, kept: str, flops: float) -> None:
        columns, seconds = miou(model, data)
        print(
            f'| {name} | {columns} | {asked * len(CLASSES):.1f} | {kept} | {flops / 1e9:.2f} | '
            f'{seconds:.2f} |',
            flush=True,
        )

    row('all', 1.0, '1', cost.asking(len(CLASSES)))
    model.set_budget('preselected')
    before = looked(others)
    for recall in RECALLS:
        threshold = threshold_for(*before, recall)
        look.keep = type(look.keep)(threshold, 1, None)
        point = recall_at([look.keep.kept(each) for each in values], counts)
        flops = dense + cost.asking(round(point.asked * len(CLASSES)))
        row(f'recall {recall:g}, {threshold:.3f}', point.asked, f'{point.pixels:.3f}', flops)
    model.set_budget('dense')
    row('none (dense)', 0.0, '', dense)
    # The preview of ActiveSAM drops phrases only above its bound, which 17 do not reach.
    model = model_of(asked, rule='activesam', preview={'size': asked.size * 2 // 3, 'at_most': 5})
    look_cost = count_cost(asked.size * 2 // 3, facts['model'])
    flops = look_cost.image + len(CLASSES) * look_cost.presence + cost.asking(5)
    row("ActiveSAM's preview, 5 at most", 5 / len(CLASSES), '', flops)


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
            words = Vocabulary.from_any(kept).with_rejection(Rejection('threshold', threshold))
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
    fewer = model.build_classifier(Vocabulary.from_any(['red star', *CLASSES[:-1]]))
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


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints tables in Markdown.

    Args:
        argv: the words; None for the process's own.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('weights', type=Path, help='of tools/export.py tiny-sam3')
    parser.add_argument('--scenes', type=int, default=40, help='of the validation split')
    parser.add_argument('--size', type=int, default=96, help="side of the model's frame in pixels")
    args = parser.parse_args(argv)
    torch.manual_seed(0)
    asked = Asked(args.weights, args.size)
    data, others = scenes(0, args.scenes), scenes(1000, args.scenes)
    with torch.no_grad():
        rules(asked, data)
        presence(asked, data)
        preselected(asked, data, others)
        none_of_these(asked, data)
        again(asked, data)


if __name__ == '__main__':
    main()
