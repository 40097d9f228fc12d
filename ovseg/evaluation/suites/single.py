"""The suite ``single``: each class of an image alone, beside words for what else may be there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from typing_extensions import override

from ovseg.errors import UserError
from ovseg.evaluation.suites.sample import (
    EncodedSample,
    Suite,
    SuiteSettings,
    number,
    over_processes,
)
from ovseg.segmentors import Segmentor
from ovseg.text import Classifier
from ovseg.text.contrast import with_contrast
from ovseg.vocabulary import Rejection, Vocabulary
from ovseg.vocabulary.contrast_words import SCENE_WORDS

# The words of the file of suite words, which ovseg has for Scenes only.
FILE = 'background list'


class SingleSuite(Suite):
    """IoU-single: a class that an image shows is asked alone; the rest of the image is none of it.

    What stands beside it are contrast words: the word "background", a lexicon without what is near
    the class, the background list of a file of words; all with "background", as published. IoU is
    counted over the images that show a class, and averaged over classes.

    Source: Contrastive Concepts (arXiv 2407.05061), its IoU-single; the released code has no such
    metric, so that details are ours.
    """

    name = 'single'

    def __init__(self, model: Segmentor, vocabulary: Vocabulary, settings: SuiteSettings) -> None:
        super().__init__(model, vocabulary, settings)
        if not model.takes_templates:
            raise UserError(
                f'the suite single puts words beside a class, and {type(model).__name__} takes none'
            )
        first = 1 if vocabulary.rejection.kind == 'class_zero' else 0
        self.labels = list(range(first, len(vocabulary)))
        listed = () if settings.words is None else settings.words.background
        self.sources = ['background', 'auto', *([FILE] if listed else [])]
        self._asked = {
            (source, label): self._question(source, label)
            for source in self.sources
            for label in self.labels
        }
        self._counts = torch.zeros(len(self.sources), len(vocabulary), 2, dtype=torch.int64)

    def _question(self, source: str, label: int) -> Classifier:
        text: Any = self.model.text  # of every model that takes templates
        item = self.vocabulary[label]
        rule = Rejection('background', words=('background',))
        words = Vocabulary([replace(item, color=None)], rule)
        if source != 'background':
            templates = text.settings.get('templates', 'openai-80')
            others = self._candidates(source, item.prompts)
            words = with_contrast(words, text.encoder, 'auto', templates, words=others)
        return self.classifier(words)

    def _candidates(self, source: str, prompts: Sequence[str]) -> Sequence[str]:
        if source == FILE and self.settings.words is not None:
            found: Sequence[str] = self.settings.words.background
        elif self.settings.other_words is not None:
            found = self.settings.other_words(prompts)
        else:
            found = SCENE_WORDS
        asked = {word.casefold() for word in prompts}
        return [word for word in found if word.casefold() not in asked]

    @override
    def add(self, sample: EncodedSample) -> None:
        counted = sample.labels != self.settings.ignore_index
        shown = set(sample.labels[counted].unique().tolist())
        for label in shown & set(self.labels):
            truth = counted & (sample.labels == label)
            for place, source in enumerate(self.sources):
                classifier = self._asked[source, label]
                found = self.model.segment(sample.encoding, sample.size, classifier).labels.cpu()
                found = counted & (found == 1)  # 0 is the background
                self._counts[place, label, 0] += (found & truth).sum()
                self._counts[place, label, 1] += (found | truth).sum()

    @override
    def result(self) -> dict[str, Any]:
        counts = over_processes(self._counts).double()
        ious = 100 * counts[..., 0] / counts[..., 1]
        names = self.vocabulary.names
        rows = [
            {
                'contrast': source,
                'words': sum(
                    int((self._asked[source, label].class_index == 0).sum())
                    for label in self.labels
                )
                / len(self.labels),
                'IoU_single': number(float(values.nanmean())),
                'classes': {names[label]: number(float(values[label])) for label in self.labels},
            }
            for source, values in zip(self.sources, ious, strict=True)
        ]
        return {
            'rows': rows,
            'words': 'contrast words of a class, on average',
            'lexicon': 'SCENE_WORDS' if self.settings.other_words is None else 'the small world',
        }
