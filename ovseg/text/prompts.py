"""Vocabulary x templates -> Classifier: how sentences are averaged and synonyms combined."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ovseg.errors import UserError, nearest
from ovseg.text.classifier import Aggregation, Classifier
from ovseg.text.encoder import SentenceEncoder
from ovseg.vocabulary.parsing import VocabularyClass
from ovseg.vocabulary.templates import fill_template, get_templates
from ovseg.vocabulary.vocabulary import Vocabulary

Combine = Literal['mean', 'max', 'mean_scores', 'joined']
Average = Literal['normalize_mean_normalize', 'mean_normalize']


def build_classifier(
    vocabulary: Vocabulary,
    encoder: SentenceEncoder,
    templates: str | Path | Sequence[str] = 'openai-80',
    combine: Combine = 'mean',
    average: Average = 'normalize_mean_normalize',
    logit_scale: float | None = None,
) -> Classifier:
    """The classifier of a vocabulary.

    Args:
        vocabulary: classes with their prompts, and the rejection rule.
        encoder: the text model.
        templates: what ``get_templates`` takes.
        combine: how a class's prompts make its score. ``mean``: one row, the normalised mean
            of their vectors. ``max``: a row each, the best counts. ``mean_scores``: a row
            each, the mean of their scores counts. ``joined``: one prompt, ``"cat, kitten"``.
            The words of a background are never averaged: any of them may win (only ``joined``
            makes them one prompt).
        average: order in which the vectors of one prompt's sentences are averaged.
        logit_scale: factor before the softmax; the model's own by default.

    Returns:
        Rows in class order, on the CPU.

    Raises:
        UserError: an unknown setting or template set.
    """
    _check_choice('combine', combine, get_args(Combine))
    _check_choice('average', average, get_args(Average))
    sentences = get_templates(templates)
    queries = [_class_queries(item, sentences, combine) for item in vocabulary.classes]
    flat = [query for of_class in queries for query in of_class]
    labels = [label for label, of_class in enumerate(queries) for _ in of_class]
    embeddings = encoder.encode([sentence for query in flat for sentence in query])
    per_query = embeddings.split([len(query) for query in flat])
    background = vocabulary.background_index
    weight, class_index, aggregation = _combine_rows(
        torch.stack([average_sentences(vectors, average) for vectors in per_query]),
        torch.tensor(labels),
        combine,
        None if combine == 'joined' else background,
    )
    return Classifier(
        weight=weight,
        class_index=class_index,
        num_classes=len(vocabulary),
        logit_scale=encoder.logit_scale if logit_scale is None else float(logit_scale),
        aggregation=aggregation,
        rejection=vocabulary.rejection,
        background_index=background,
        fingerprint=encoder.fingerprint,
    )


def average_sentences(embeddings: Tensor, average: Average) -> Tensor:
    """The unit vector (D,) of one prompt from its sentences' raw embeddings (T, D).

    ``normalize_mean_normalize`` (MaskCLIP, SCLIP and the rest of the field) gives each sentence
    the same say; ``mean_normalize`` lets longer vectors count more.

    Source: open_clip's zero-shot classifier; MaskCLIP, tools/maskclip_utils/prompt_engineering.py.
    """
    if average == 'normalize_mean_normalize':
        embeddings = F.normalize(embeddings, dim=-1)
    return F.normalize(embeddings.mean(0), dim=-1)


def _class_queries(
    item: VocabularyClass, templates: Sequence[str], combine: Combine
) -> list[list[str]]:
    """The sentences of each query of a class; descriptions are sentences already."""
    prompts = (', '.join(item.prompts),) if combine == 'joined' and item.prompts else item.prompts
    words = [[fill_template(template, prompt) for template in templates] for prompt in prompts]
    return words + [[description] for description in item.descriptions]


def _combine_rows(
    rows: Tensor, labels: Tensor, combine: Combine, background: int | None
) -> tuple[Tensor, Tensor, Aggregation]:
    """Merge the rows (P, D) of each class as ``combine`` says, except the background's.

    Returns:
        Rows, their classes, and the aggregation that completes the rule.
    """
    is_background = labels == (-1 if background is None else background)
    several_backgrounds = int(is_background.sum()) > 1
    if len(labels.unique()) == len(labels):
        return rows, labels, 'linear'
    if combine == 'max':
        return rows, labels, 'max'
    if combine == 'mean_scores' and not several_backgrounds:
        return rows, labels, 'mean'
    merged, merged_labels = [], []
    for label in labels.unique().tolist():
        of_class = rows[labels == label]
        if label != background:
            # The mean of scores is the score of the mean row, of whatever length that is.
            of_class = of_class.mean(0, keepdim=True)
            of_class = of_class if combine == 'mean_scores' else F.normalize(of_class, dim=-1)
        merged.append(of_class)
        merged_labels += [label] * len(of_class)
    aggregation: Aggregation = 'max' if several_backgrounds else 'linear'
    return torch.cat(merged), torch.tensor(merged_labels), aggregation


def _check_choice(setting: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(
            f'unknown {setting} {value!r}, use one of {", ".join(known)}.'
            + nearest(str(value), known)
        )
