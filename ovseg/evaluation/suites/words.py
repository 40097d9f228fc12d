"""The suite ``words``: how much of a score belongs to the words that were chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from ovseg.evaluation.areas import Areas, confusion_matrix, summarise
from ovseg.evaluation.none_of_these import open_miou, similarity_of_groups
from ovseg.evaluation.suites.sample import (
    EncodedSample,
    Suite,
    SuiteSettings,
    mapped,
    number,
    over_processes,
)
from ovseg.segmentors import Segmentor
from ovseg.vocabulary import Rejection, Vocabulary
from ovseg.vocabulary.parsing import VocabularyClass

# How many near words stand beside the classes, as the audits of the field add them.
_DISTRACTORS = (50, 200)


@dataclass(frozen=True, eq=False)
class Variant:
    """The classes of a data set in other words.

    Attributes:
        name: what was changed.
        vocabulary: the words.
        table: (classes of the vocabulary,) int64, the data set's label of each; K for none.
        counts_as_robust: whether it is among those whose mean and worst are reported.
    """

    name: str
    vocabulary: Vocabulary
    table: Tensor
    counts_as_robust: bool = True


class WordsSuite(Suite):
    """Official words, plain names, synonyms, hypernyms, near words beside, background list on/off.

    Each image is encoded once and asked in all these words. A near word that wins a pixel makes it
    none of the classes: of the background where the data set has one, else no class.
    """

    name = 'words'

    def __init__(self, model: Segmentor, vocabulary: Vocabulary, settings: SuiteSettings) -> None:
        super().__init__(model, vocabulary, settings)
        self.words = self.need_words('synonyms, hypernyms and near words')
        self.left_out: list[str] = []
        self.variants = list(self._variants())
        self._classifiers = [self.classifier(variant.vocabulary) for variant in self.variants]
        classes = len(vocabulary)
        self._counts = torch.zeros(len(self.variants), classes, classes + 1, dtype=torch.int64)
        self._distracted = torch.zeros(len(self.variants), 2, dtype=torch.int64)

    @override
    def add(self, sample: EncodedSample) -> None:
        ignored = self.settings.ignore_index
        classes = len(self.vocabulary)
        counted = sample.labels != ignored
        for index, classifier in enumerate(self._classifiers):
            variant = self.variants[index]
            found = self.model.segment(sample.encoding, sample.size, classifier).labels.cpu()
            labels = mapped(found, variant.table)
            self._counts[index] += confusion_matrix(labels, sample.labels, classes, ignored)
            is_other = found >= len(variant.vocabulary) - self._others(variant)
            self._distracted[index, 0] += int((is_other & counted).sum())
            self._distracted[index, 1] += int(counted.sum())

    @override
    def result(self) -> dict[str, Any]:
        counts, distracted = over_processes(self._counts), over_processes(self._distracted)
        alike = similarity_of_groups(self.vocabulary.names, self.words.groups())
        rows: list[dict[str, Any]] = []
        for variant, matrix, (others, pixels) in zip(
            self.variants, counts, distracted.tolist(), strict=True
        ):
            scores = summarise(Areas.of_matrix(matrix))
            scores['open_mIoU'] = open_miou(matrix, alike)
            rows.append(
                {
                    'variant': variant.name,
                    'classes': len(variant.vocabulary),
                    **{name: number(value) for name, value in scores.items()},
                    'distractor_share': number(100 * others / max(pixels, 1)),
                }
            )
        by_name = {row['variant']: row['mIoU_present'] for row in rows}
        robust = [by_name[v.name] for v in self.variants if v.counts_as_robust]
        official = by_name['official']
        return {
            'words': self.words.source,
            'similarity': 'open mIoU: 0.5 for classes of one hypernym of the file of words',
            'left_out': self.left_out,
            'variants': rows,
            'official': official,
            'robust': float(np.mean(robust)),
            'worst': min(robust),
            'drop': official - float(np.mean(robust)),
        }

    def _others(self, variant: Variant) -> int:
        """How many of a vocabulary's last classes are near words."""
        first = len(variant.vocabulary) - len(variant.vocabulary.asked)
        return len(variant.vocabulary) - first - len(self.vocabulary.asked)

    # The variants ------------------------------------------------------------------------------

    @property
    def _has_background(self) -> bool:
        return self.vocabulary.rejection.kind == 'class_zero'

    def _variant(
        self,
        name: str,
        classes: Sequence[VocabularyClass],
        rule: Rejection | None = None,
        is_robust: bool = True,
    ) -> Variant:
        rule = self.vocabulary.rejection if rule is None else rule
        vocabulary = Vocabulary(classes, rule if rule.rejects else None)
        count = len(self.vocabulary)
        none = 0 if self._has_background else count
        table = torch.full((len(vocabulary),), none)
        first = len(vocabulary) - len(classes)
        table[first : first + count] = torch.arange(count)
        return Variant(name, vocabulary, table, is_robust)

    def _renamed(self, names: Sequence[str | None]) -> list[VocabularyClass]:
        """The classes, each under its label's name and asked for by a word; None keeps its own."""
        return [
            item if word is None else VocabularyClass(item.name, (word,), item.color)
            for item, word in zip(self.vocabulary.asked, names, strict=True)
        ]

    def _variants(self) -> Iterator[Variant]:
        asked = self.vocabulary.asked
        official = list(asked)
        plain = self._renamed([item.name for item in asked])
        yield self._variant('official', official, is_robust=False)
        yield self._variant('plain', plain)
        yield from self._other_words()
        yield from self._with_distractors(plain)
        yield from self._with_backgrounds(official)

    def _other_words(self) -> Iterator[Variant]:
        asked, rng = self.vocabulary.asked, np.random.default_rng(self.settings.seed)
        known = [self.words.synonyms.get(item.name, ()) for item in asked]
        drawn = [str(rng.choice(words)) if words else None for words in known]
        if any(known):
            for number_ in range(self.rounds):
                keeps = rng.permutation(len(asked)) < len(asked) // 2
                some = [None if keep else word for keep, word in zip(keeps, drawn, strict=True)]
                yield self._variant(f'synonyms 50 % ({number_ + 1})', self._renamed(some))
            yield self._variant('synonyms 100 %', self._renamed(drawn))
        else:
            self.left_out.append('synonyms: the file of words has none')
        hypernyms = [self.words.hypernyms.get(item.name) for item in asked]
        if any(hypernyms):
            yield self._variant('hypernyms', self._renamed(hypernyms))
        else:
            self.left_out.append('hypernyms: the file of words has none')

    def _with_distractors(self, plain: list[VocabularyClass]) -> Iterator[Variant]:
        taken = {word.casefold() for item in self.vocabulary for word in (item.name, *item.prompts)}
        near = [word for word in self.words.distractors if word.casefold() not in taken]
        if not near:
            self.left_out.append('near distractors: the file of words has none')
        for wanted in dict.fromkeys(min(each, len(near)) for each in _DISTRACTORS if near):
            others = [VocabularyClass(word, (word,)) for word in near[:wanted]]
            yield self._variant(f'+{wanted} near distractors', [*plain, *others])

    def _with_backgrounds(self, official: list[VocabularyClass]) -> Iterator[Variant]:
        if self._has_background:
            first = VocabularyClass(official[0].name, (official[0].name,), official[0].color)
            yield self._variant('background list off', [first, *official[1:]])
            return
        taken = {word.casefold() for item in official for word in item.prompts}
        words = [word for word in self.words.background if word.casefold() not in taken]
        if words:
            rule = Rejection('background', words=tuple(words))
            yield self._variant('background list on', official, rule)
        else:
            self.left_out.append('background list: the file of words has none')
