"""The suite ``fewshot``: some examples a class beside the words, by each rule, in several draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from ovseg.evaluation.areas import Areas, confusion_matrix, summarise
from ovseg.evaluation.suites.sample import (
    EncodedSample,
    ExampleSuite,
    SuiteSettings,
    number,
    over_processes,
)
from ovseg.segmentors import Segmentor
from ovseg.text import Classifier
from ovseg.vocabulary import Vocabulary

# Those of Retrieve and Segment.
SEEDS = (100, 18, 42, 84, 92, 256, 512, 1024)
WORDS = 'words'
ALL, HALF, HALF_WORDS = 'all', 'half', 'all, half without words'


@dataclass(frozen=True, eq=False)
class Trial:
    """One classifier of words and examples.

    Attributes:
        rule: by which examples count, ``'words'`` for none.
        images: a class, that examples were drawn from.
        support: which classes have examples.
        draw: number of the draw.
        classifier: of the vocabulary.
        apart: (K,) bool, the classes told apart from the others: those with examples; of ``'all,
            half without words'`` those whose words count.
    """

    rule: str
    images: int
    support: str
    draw: int
    classifier: Classifier
    apart: Tensor


class FewShotSuite(ExampleSuite):
    """Examples of all classes, of half of them, and of all while half of the names mean nothing.

    For each draw a random half of the classes; scores are told apart for it and the other half.
    Words alone are the start of every curve. Where a draw finds fewer images of a class than it
    should have, that is in the result.
    """

    name = 'fewshot'
    default_rounds: ClassVar[int] = 4

    def __init__(self, model: Segmentor, vocabulary: Vocabulary, settings: SuiteSettings) -> None:
        super().__init__(model, vocabulary, settings)
        self.seeds = seeds(self.rounds, settings.seed)
        self._words = self.classifier(vocabulary)
        self.lacking: dict[str, int] = {}
        self.support_images: dict[int, list[int]] = {}
        self.trials: list[Trial] = []
        for draw in range(len(self.seeds)):
            self.trials += self._trials(draw)
        classes = len(vocabulary)
        self._counts = torch.zeros(len(self.trials), classes, classes + 1, dtype=torch.int64)

    def _trials(self, draw: int) -> list[Trial]:
        names, seed = self.vocabulary.names, self.seeds[draw]
        classes = list(range(len(names)))
        order = np.random.default_rng(seed).permutation(classes).tolist()
        half = sorted(order[: -(-len(order) // 2)])
        is_half = torch.zeros(len(names), dtype=torch.bool)
        is_half[half] = True
        every = torch.ones_like(is_half)
        unsaid = [label for label in classes if label not in half]
        nobody: list[int] = []
        parts = (
            (ALL, classes, nobody, every),
            (HALF, half, nobody, is_half),
            (HALF_WORDS, classes, unsaid, is_half),
        )
        found = [Trial(WORDS, 0, part, draw, self._words, apart) for part, _, _, apart in parts[:2]]
        for count in self.shots:
            for part, labels, nameless, apart in parts:
                chosen = self.pool.draw(labels, count, seed)
                if part == ALL:
                    self.support_images.setdefault(count, []).append(len(chosen))
                self._note_lacking(labels, chosen, count)
                bank = self.pool.bank(self.model, chosen, labels, names, nameless)
                found += [
                    Trial(
                        str(rule),
                        count,
                        part,
                        draw,
                        self.applied(rule, self._words, self.vocabulary, bank),
                        apart,
                    )
                    for rule in self.rules
                ]
        return found

    def _note_lacking(self, labels: list[int], chosen: list[int], count: int) -> None:
        for label in labels:
            have = sum(label in self.pool.shows(image) for image in chosen)
            if have < count:
                self.lacking[self.vocabulary.names[label]] = have

    @override
    def add(self, sample: EncodedSample) -> None:
        known: dict[int, Tensor] = {}  # words alone are asked once an image
        for index, trial in enumerate(self.trials):
            key = id(trial.classifier)
            if key not in known:
                found = self.model.segment(sample.encoding, sample.size, trial.classifier).labels
                known[key] = confusion_matrix(
                    found.cpu(), sample.labels, len(self.vocabulary), self.settings.ignore_index
                )
            self._counts[index] += known[key]

    @override
    def result(self) -> dict[str, Any]:
        counts = over_processes(self._counts)
        groups: dict[tuple[str, int, str], list[int]] = {}
        for index, trial in enumerate(self.trials):
            groups.setdefault((trial.rule, trial.images, trial.support), []).append(index)
        rows = []
        for (rule, images, support), members in groups.items():
            draws = [self._scores(counts[index], self.trials[index]) for index in members]
            row: dict[str, Any] = {'rule': rule, 'images': images, 'support': support}
            for name in draws[0]:
                values = np.array([draw[name] for draw in draws])
                row[name] = number(_mean(values))
                row[f'{name}_std'] = number(float(values.std(ddof=1)) if len(values) > 1 else 0.0)
                row[f'{name}_draws'] = [number(float(value)) for value in values]
            ious = torch.stack([Areas.of_matrix(counts[index]).iou for index in members])
            row['IoU'] = {
                name: number(100 * float(value))
                for name, value in zip(self.vocabulary.names, ious.nanmean(0), strict=True)
            }
            rows.append(row)
        return {
            'rows': rows,
            'draws': len(self.seeds),
            'seeds': list(self.seeds),
            'pool': f'{len(self.pool)} images',
            'support_images': {str(k): v for k, v in self.support_images.items()},
            'lacking': self.lacking,
            'mIoU': 'over the classes that the tested images show',
        }

    @staticmethod
    def _scores(matrix: Tensor, trial: Trial) -> dict[str, float]:
        areas = Areas.of_matrix(matrix)
        whole = summarise(areas)
        iou, present = 100 * areas.iou, areas.label > 0
        return {
            'mIoU': whole['mIoU_present'],
            'mIoU_apart': float(iou[present & trial.apart].mean()),
            'mIoU_others': float(iou[present & ~trial.apart].mean()),
            'zero_iou_share': whole['zero_iou_share'],
        }


def seeds(rounds: int, seed: int) -> tuple[int, ...]:
    """Seeds of so many draws: the published ones, and further ones where these are used up.

    Args:
        rounds: how many.
        seed: added to each.

    Example:
        >>> seeds(3, 0)
        (100, 18, 42)
    """
    more = range(2000, 2000 + max(0, rounds - len(SEEDS)))
    return tuple(seed + each for each in (*SEEDS, *more)[:rounds])


def _mean(values: np.ndarray) -> float:
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else float('nan')
