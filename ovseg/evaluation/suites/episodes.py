"""The suite ``episodes``: one novel class at a time, as the few-shot protocols with folds ask."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from typing_extensions import override

from ovseg.datasets.folds import FOLDS, fold_groups
from ovseg.errors import UserError
from ovseg.evaluation.suites.sample import (
    EncodedSample,
    ExampleSuite,
    SuiteSettings,
    number,
    over_processes,
)
from ovseg.evaluation.suites.support_pool import SupportPool
from ovseg.exemplars import Bank
from ovseg.segmentors import Segmentor
from ovseg.text import Classifier
from ovseg.vocabulary import Vocabulary

WORDS = 'words'


@dataclass(frozen=True)
class Episode:
    """A question: which pixels of an image are the class that a few others show?

    Attributes:
        fold: number of the fold.
        draw: number of the draw.
        label: of the class in the data set.
        query: number of the image that is asked about.
        seed: of the draw of the images that show the class.
    """

    fold: int
    draw: int
    label: int
    query: int
    seed: tuple[int, ...]


class EpisodesSuite(ExampleSuite):
    """1-way episodes: foreground is the class of the episode, background all else.

    A fold's novel classes are never asked beside each other: the words are those of the class of
    the episode, of the base classes of the fold and of the data set's background. Nothing is
    trained on base classes; their words are all that the model has of them. IoU is counted over
    all episodes of a class, at the labels' size, and averaged over the fold's novel classes; FB-IoU
    is the mean of the IoUs of foreground and background over all episodes.

    Source: OSLSM (arXiv 1709.03410), section 4 (episodes, mIoU over classes); FB-IoU: Rakelly et
    al., Conditional Networks (ICLR workshop 2018).
    """

    name = 'episodes'
    default_shots: ClassVar[tuple[int, ...]] = (1, 5)

    def __init__(self, model: Segmentor, vocabulary: Vocabulary, settings: SuiteSettings) -> None:
        super().__init__(model, vocabulary, settings)
        if settings.tested is None:
            raise UserError('the suite episodes chooses among the tested images, and has none')
        self.novel = self._folds()
        self._asked: dict[tuple[int, int], tuple[Vocabulary, Classifier, int]] = {}
        self.episodes: dict[int, list[Episode]] = defaultdict(list)
        self.missing: set[str] = set()
        for draw in range(self.rounds):
            for fold, labels in enumerate(self.novel):
                for episode in self._drawn(settings.tested, fold, draw, labels):
                    self.episodes[episode.query].append(episode)
        self.variants = [(WORDS, 0), *((str(r), n) for n in self.shots for r in self.rules)]
        # Hits, and pixels of either, of the foreground and of the background.
        shape = (self.rounds, len(self.novel), len(self.variants), len(vocabulary), 4)
        self._counts = torch.zeros(shape, dtype=torch.int64)
        # Episodes that were asked, and those without an example.
        self._number = torch.zeros(*shape[:2], 2, dtype=torch.int64)

    def _folds(self) -> list[list[int]]:
        """Labels of each fold's novel classes."""
        names = list(self.vocabulary.names)
        protocol = self.settings.folds
        if protocol is None:
            first = 1 if self.vocabulary.rejection.kind == 'class_zero' else 0
            return [[label] for label in range(first, len(names))]
        groups = [fold_groups(protocol, fold, names)['novel'] for fold in range(FOLDS)]
        return [[names.index(name) for name in members] for members in groups]

    def _drawn(self, tested: SupportPool, fold: int, draw: int, labels: list[int]) -> list[Episode]:
        rng = np.random.default_rng((self.settings.seed, draw, fold))
        showing = {
            label: [image for image in tested.numbers if label in tested.shows(image)]
            for label in labels
        }
        self.missing |= {self.vocabulary.names[label] for label in labels if not showing[label]}
        present = [label for label in labels if showing[label]]
        if not present:
            return []
        found = []
        for place in range(self.settings.episodes):
            label = int(rng.choice(present))
            query = int(rng.choice(showing[label]))
            found.append(Episode(fold, draw, label, query, (self.settings.seed, draw, fold, place)))
        return found

    def _question(self, fold: int, label: int) -> tuple[Vocabulary, Classifier, int]:
        """Words of an episode, their classifier, and the label of the class among them."""
        if (fold, label) not in self._asked:
            full = self.vocabulary
            others = {full.names[each] for each in self.novel[fold] if each != label}
            kept = [item for item in full.asked if item.name not in others]
            rule = full.rejection if full.rejection.rejects else None
            words = Vocabulary(kept, rule)
            own = words.names.index(full.names[label])
            self._asked[fold, label] = words, self.classifier(words), own
        return self._asked[fold, label]

    @override
    def add(self, sample: EncodedSample) -> None:
        counted = sample.labels != self.settings.ignore_index
        pixels = int(counted.sum())
        for episode in self.episodes.get(sample.index, ()):
            words, plain, own = self._question(episode.fold, episode.label)
            banks = [self._bank(episode, count) for count in self.shots]
            if None in banks:
                self._number[episode.draw, episode.fold, 1] += 1
                continue
            self._number[episode.draw, episode.fold, 0] += 1
            classifiers = [plain] + [
                self.applied(rule, plain, words, bank)
                for bank in banks
                if bank is not None
                for rule in self.rules
            ]
            truth = counted & (sample.labels == episode.label)
            for place, classifier in enumerate(classifiers):
                found = self.model.segment(sample.encoding, sample.size, classifier).labels.cpu()
                found = counted & (found == own)
                hits, either = int((found & truth).sum()), int((found | truth).sum())
                self._counts[episode.draw, episode.fold, place, episode.label] += torch.tensor(
                    [hits, either, pixels - either, pixels - hits]
                )

    def _bank(self, episode: Episode, count: int) -> Bank | None:
        """The examples of an episode; None where no other image shows enough of the class."""
        without = [episode.query] if self.pool is self.settings.tested else []
        numbers = self.pool.showing(episode.label, count, episode.seed, without, self.model)
        if not numbers:
            return None
        return self.pool.bank(self.model, numbers, [episode.label], self.vocabulary.names)

    @override
    def result(self) -> dict[str, Any]:
        counts, done = over_processes(self._counts), over_processes(self._number)
        rows = []
        for place, (rule, images) in enumerate(self.variants):
            own = counts[:, :, place].double()
            ious = own[..., 0] / own[..., 1]  # (draws, folds, K), NaN where a class has no episode
            of_folds = 100 * ious.nanmean(2)
            both = own.sum(2)
            fb = 100 * (both[..., 0] / both[..., 1] + both[..., 2] / both[..., 3]) / 2
            draws = of_folds.nanmean(1)
            rows.append(
                {
                    'rule': rule,
                    'images': images,
                    'mIoU': number(float(draws.nanmean())),
                    'mIoU_std': number(float(draws.std()) if len(draws) > 1 else 0.0),
                    'FB_IoU': number(float(fb.nanmean())),
                    'mIoU_folds': [number(float(value)) for value in of_folds.nanmean(0)],
                }
            )
        return {
            'rows': rows,
            'folds': self.settings.folds or 'none: each class is novel once, beside all others',
            'novel': [[self.vocabulary.names[label] for label in fold] for fold in self.novel],
            'episodes': done[..., 0].tolist(),
            'without_examples': int(done[..., 1].sum()),
            'without_images': sorted(self.missing),
            'base': 'words; nothing is trained',
            'support': 'of the tested images' if self.pool is self.settings.tested else 'others',
            'size': 'that of the labels',
        }
