"""Parity with what words do: descriptions, contrast words, template experts."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ovseg.text import Classifier, build_classifier
from ovseg.text.contrast import cooccurring
from ovseg.text.experts import TemplateEntropy, fuse_experts
from ovseg.vocabulary import Vocabulary
from ovseg.vocabulary.descriptions import Descriptions, joined, read_descriptions
from parity.report import EXACT, Case, Tolerance

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


def check_contrast(file: Case, folder: Path) -> None:
    """Words often seen with a query, from made-up counts."""
    config, inputs = file.inner('config'), file.inner('inputs')
    config.use('vocabulary')
    vocabulary, query = inputs['vocabulary'], inputs['query']
    allowed = torch.zeros(len(vocabulary), dtype=torch.bool)
    allowed[inputs['keep']] = True
    units, asked = (torch.nn.functional.normalize(each, dim=1) for each in (vocabulary, query))
    file.inner('intermediate').compare(
        _UNIT, matched=(asked @ units.T).argmax(1), similarity=units @ units.T
    )
    found = cooccurring(
        query, vocabulary, inputs['cooccurrence'], config['gamma'], config['delta'], allowed
    )
    file.inner('outputs').compare(EXACT, contrastive=found)


def check_experts(file: Case, folder: Path) -> None:
    """Entropies of templates, and the fusion of experts, streamed in any order."""
    config, inputs, wanted = file.inner('config'), file.inner('inputs'), file.inner('outputs')
    config.use('height', 'width')
    experts = inputs['expert_probs']
    streamed = [([label], experts[label]) for label in reversed(range(config['classes']))]
    fused = fuse_experts(inputs['default_prob'], streamed)
    claims = (experts.argmax(1) == torch.arange(len(experts))[:, None, None]).sum(0)
    file.inner('intermediate').compare(EXACT, claims_per_pixel=claims)
    found = TemplateEntropy.empty(config['templates'], config['classes'])
    images = inputs['template_probs']
    config.compare(EXACT, images=len(images))
    for image in images:
        for template, shares in enumerate(image):
            found.add(template, shares)
    wanted.compare(
        _UNIT,
        fused=fused,
        entropy=found.mean,
        pixel_count=found.pixels,
        total_pixels=found.total,
    )
