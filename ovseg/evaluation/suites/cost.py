"""The suite ``cost``: seconds beside accuracy, as a function of the number of classes."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import torch
from typing_extensions import override

from ovseg.devices import wait_for
from ovseg.evaluation.areas import Areas, confusion_matrix, summarise
from ovseg.evaluation.suites.sample import (
    EncodedSample,
    Suite,
    SuiteSettings,
    mapped,
    number,
    over_processes,
)
from ovseg.segmentors import Segmentor
from ovseg.vocabulary import Vocabulary
from ovseg.vocabulary.parsing import VocabularyClass

_STEPS = 4


class CostSuite(Suite):
    """The data set's classes alone, and beside more and more near words.

    Times are wall-clock times of this machine, an image at a time: of the encoder, which words do
    not change, and of all that comes after it. Words are encoded once; that is told apart.
    """

    name = 'cost'

    def __init__(self, model: Segmentor, vocabulary: Vocabulary, settings: SuiteSettings) -> None:
        super().__init__(model, vocabulary, settings)
        words = self.need_words('near words to ask for beside the classes')
        taken = {word.casefold() for item in vocabulary for word in (item.name, *item.prompts)}
        near = [word for word in words.distractors if word.casefold() not in taken]
        counts = sorted({round(len(near) * step / _STEPS) for step in range(_STEPS + 1)})
        first = len(vocabulary) - len(vocabulary.asked)
        none = 0 if vocabulary.rejection.kind == 'class_zero' else len(vocabulary)
        self._asked = []
        for count in counts:
            others = [VocabularyClass(word, (word,)) for word in near[:count]]
            rule = vocabulary.rejection if vocabulary.rejection.rejects else None
            wider = Vocabulary([*vocabulary.asked, *others], rule)
            began = perf_counter()
            classifier = self.classifier(wider)
            wait_for(model.device)
            table = torch.full((first + len(wider.asked),), none)
            table[: len(vocabulary)] = torch.arange(len(vocabulary))
            self._asked.append((len(wider), perf_counter() - began, classifier, table))
        classes = len(vocabulary)
        self._counts = torch.zeros(len(counts), classes, classes + 1, dtype=torch.int64)
        # Images, seconds of the encoder, seconds of each number of classes.
        self._seconds = torch.zeros(2 + len(counts), dtype=torch.float64)

    @override
    def add(self, sample: EncodedSample) -> None:
        self._seconds[0] += 1
        self._seconds[1] += sample.seconds
        for index, (_, _, classifier, table) in enumerate(self._asked):
            encoding = self.model.unasked(sample.encoding)
            began = perf_counter()
            found = self.model.segment(encoding, sample.size, classifier).labels
            wait_for(self.model.device)
            self._seconds[2 + index] += perf_counter() - began
            self._counts[index] += confusion_matrix(
                mapped(found, table),
                sample.labels,
                len(self.vocabulary),
                self.settings.ignore_index,
            )

    @override
    def result(self) -> dict[str, Any]:
        counts, seconds = over_processes(self._counts), over_processes(self._seconds).tolist()
        images, encoder = seconds[:2]
        rows = []
        for (classes, words, _, _), matrix, spent in zip(
            self._asked, counts, seconds[2:], strict=True
        ):
            scores = summarise(Areas.of_matrix(matrix))
            rows.append(
                {
                    'classes': classes,
                    'words_seconds': words,
                    'encoder_seconds_an_image': encoder / images,
                    'classes_seconds_an_image': spent / images,
                    'share_of_the_encoder': 100 * spent / encoder,
                    'mIoU': number(scores['mIoU']),
                    'mIoU_present': number(scores['mIoU_present']),
                }
            )
        return {'rows': rows, 'device': str(self.model.device), 'threads': torch.get_num_threads()}
