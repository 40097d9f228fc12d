"""Parity with what is said of classes: descriptions."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ovseg.text import Classifier, build_classifier
from ovseg.vocabulary import Vocabulary
from ovseg.vocabulary.descriptions import Descriptions, joined, read_descriptions
from parity.report import Case, Tolerance

_UNIT = Tolerance(atol=1e-5)


class _Known:
    """A text tower that knows the file's sentences."""

    name, fingerprint, logit_scale = 'golden', 'golden', 100.0

    def __init__(self, vectors: dict[str, Tensor]) -> None:
        self._vectors = vectors

    def encode(self, prompts: Sequence[str]) -> Tensor:
        return torch.stack([self._vectors[prompt] for prompt in prompts])


def check_descriptions(file: Case, folder: Path) -> None:
    """Descriptor phrases to sentences to the scores of classes, by every rule."""
    config, inputs, wanted = file.inner('config'), file.inner('inputs'), file.inner('outputs')
    config.use('dim', 'counts', 'prompt')
    phrases, index = inputs['descriptors'], inputs['class_index'].tolist()
    wanted.compare(Tolerance(), sentences=[joined(phrase) for phrase in phrases])
    said = _through_a_file(phrases, index)
    names = [item.name for item in said.classes]
    sentences = [text for item in said.classes for text, _ in item.sentences()]
    formed = [
        config['prompt'].format(name=names[label], sentence=sentence)
        for label, sentence in zip(index, wanted.wanted('sentences'), strict=True)
    ]
    config.compare_as('prompt', sentences, formed)
    encoder = _Known(dict(zip(formed, inputs['embeddings'], strict=True)))
    vocabulary = Vocabulary.parse(names)
    features = inputs['query'].T[None, :, :, None]

    def scores(classifier: Classifier) -> Tensor:
        return classifier.scores(features)[0, :, :, 0].T

    def build(combine: str) -> Classifier:
        return build_classifier(
            vocabulary, encoder, 'none', combine, descriptions=said, name_share=0
        )  # type: ignore[arg-type]  # one of the rules

    mean = scores(build('mean_scores'))
    rows = build('max_score')
    wanted.compare(
        _UNIT,
        mean=mean,
        unnormalised_mean=mean,
        renormalised_mean=scores(build('mean')),
        max=scores(rows),
        sum=scores(replace(rows, aggregation='linear')),
    )


def _through_a_file(phrases: Sequence[str], index: Sequence[int]) -> Descriptions:
    """Descriptors as VCD publishes them, read as a user's file is."""
    content: dict[str, list[str]] = {}
    for phrase, label in zip(phrases, index, strict=True):
        content.setdefault(f'kind {label}', []).append(phrase)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / 'descriptors.json'
        path.write_text(json.dumps(content), encoding='utf-8')
        return read_descriptions(path)
