"""How the vectors of a class's words and descriptions become rows of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ovseg.text.row_groups import Aggregation

Combine = Literal[
    'mean', 'max', 'mean_scores', 'joined', 'raw_mean', 'max_score', 'sum_prob', 'lse'
]
Average = Literal['normalize_mean_normalize', 'mean_normalize']

# Rules under which one row a class is all there is; the others keep a row a word.
_ONE_ROW = ('mean', 'raw_mean', 'joined')


@dataclass(frozen=True, eq=False)
class Query:
    """A word in its sentences, or a description.

    Attributes:
        label: its class.
        sentences: what is encoded.
        weight: how much it counts in its class beside the others; 1 on average.
        origin: ``'text'``, ``'description'`` or ``'contrast'``.
    """

    label: int
    sentences: tuple[str, ...]
    weight: float = 1.0
    origin: str = 'text'


class Rows(NamedTuple):
    """Rows of a classifier, see :class:`~ovseg.text.classifier.Classifier`."""

    weight: Tensor
    class_index: Tensor
    row_weight: Tensor
    origin: tuple[str, ...]
    aggregation: Aggregation


def average_sentences(embeddings: Tensor, average: Average) -> Tensor:
    """The unit vector (D,) of one prompt from its sentences' raw embeddings (T, D).

    ``normalize_mean_normalize`` (MaskCLIP, SCLIP and the rest of the field) gives each sentence
    the same say; ``mean_normalize`` lets longer vectors count more.

    Source: open_clip's zero-shot classifier; MaskCLIP, tools/maskclip_utils/prompt_engineering.py.
    """
    if average == 'normalize_mean_normalize':
        embeddings = F.normalize(embeddings, dim=-1)
    return F.normalize(embeddings.mean(0), dim=-1)


def combine_rows(
    queries: Sequence[Query],
    encoded: Sequence[Tensor],
    combine: Combine,
    average: Average,
    background: int | None,
) -> Rows:
    """The rows of a classifier.

    Args:
        queries: in class order.
        encoded: raw embeddings (T, D) of each query's sentences.
        combine: the rule, see :func:`~ovseg.text.prompts.build_classifier`.
        average: how the sentences of a query are averaged.
        background: the class whose words are never averaged (only ``joined`` makes them one), or
            None.
    """
    vectors = [average_sentences(each, average) for each in encoded]
    by_class: dict[int, list[int]] = {}
    for number, query in enumerate(queries):
        by_class.setdefault(query.label, []).append(number)
    several = {label for label, numbers in by_class.items() if len(numbers) > 1}
    keeps_background = background in several and combine != 'joined'
    if combine in ('lse', 'sum_prob'):
        parts = [
            _shared(numbers, queries, vectors, combine == 'lse' and label != background)
            for label, numbers in by_class.items()
        ]
        return _joined(parts, 'lse' if several else 'linear')
    if not several:
        parts = [_as_they_are(numbers, queries, vectors) for numbers in by_class.values()]
        if combine == 'raw_mean':
            parts = [_raw_mean(numbers, queries, encoded) for numbers in by_class.values()]
        return _joined(parts, 'linear')
    if combine in ('max', 'max_score'):
        parts = [_described(numbers, queries, vectors) for numbers in by_class.values()]
        return _joined(parts, combine)
    if combine == 'mean_scores' and not keeps_background:
        parts = [_weighted(numbers, queries, vectors) for numbers in by_class.values()]
        return _joined(parts, 'mean')
    parts = []
    for label, numbers in by_class.items():
        if label == background and keeps_background:
            parts.append(_as_they_are(numbers, queries, vectors))
        elif combine == 'raw_mean':
            parts.append(_raw_mean(numbers, queries, encoded))
        else:
            parts.append(_mean(numbers, queries, vectors, combine in _ONE_ROW))
    return _joined(parts, 'max' if keeps_background else 'linear')


def _joined(parts: Sequence[Rows], aggregation: Aggregation) -> Rows:
    return Rows(
        torch.cat([part.weight for part in parts]),
        torch.cat([part.class_index for part in parts]),
        torch.cat([part.row_weight for part in parts]),
        tuple(origin for part in parts for origin in part.origin),
        aggregation,
    )


def _rows(
    rows: Tensor, label: int, origin: Sequence[str], row_weight: Tensor | None = None
) -> Rows:
    shares = torch.ones(len(rows)) if row_weight is None else row_weight
    return Rows(rows, torch.full((len(rows),), label), shares, tuple(origin), 'linear')


def _as_they_are(numbers: list[int], queries: Sequence[Query], vectors: Sequence[Tensor]) -> Rows:
    rows = torch.stack([vectors[number] for number in numbers])
    return _rows(rows, queries[numbers[0]].label, [queries[n].origin for n in numbers])


def _weighted(numbers: list[int], queries: Sequence[Query], vectors: Sequence[Tensor]) -> Rows:
    weights = torch.tensor([queries[number].weight for number in numbers])
    return _as_they_are(numbers, queries, vectors)._replace(row_weight=weights)


def _shared(
    numbers: list[int], queries: Sequence[Query], vectors: Sequence[Tensor], by_share: bool
) -> Rows:
    """Rows that are summed up as probabilities, each with its share of the class or with all of it.

    With shares, a row that is there twice counts once: its copies share what one would have.
    """
    rows = _weighted(numbers, queries, vectors)
    if not by_share:
        return rows._replace(row_weight=torch.ones(len(numbers)))
    weight, position, counts = rows.weight.unique(dim=0, return_inverse=True, return_counts=True)
    if len(weight) < len(rows.weight):
        rows = rows._replace(row_weight=rows.row_weight / counts[position])
    return rows._replace(row_weight=rows.row_weight / rows.row_weight.sum())


def _mean(
    numbers: list[int], queries: Sequence[Query], vectors: Sequence[Tensor], normalised: bool
) -> Rows:
    """One row: the mean of scores is the score of the mean row, of whatever length that is."""
    part = _weighted(numbers, queries, vectors)
    row = (part.weight * part.row_weight[:, None]).mean(0, keepdim=True)
    row = F.normalize(row, dim=-1) if normalised else row
    return _rows(row, queries[numbers[0]].label, part.origin[:1])


def _raw_mean(numbers: list[int], queries: Sequence[Query], encoded: Sequence[Tensor]) -> Rows:
    """One row: the mean of all un-normalised encodings. Source: AnoVL, its prompt ensemble."""
    raw = torch.cat([encoded[number] * queries[number].weight for number in numbers])
    row = F.normalize(raw.mean(0, keepdim=True), dim=-1)
    return _rows(row, queries[numbers[0]].label, [queries[numbers[0]].origin])


def _described(numbers: list[int], queries: Sequence[Query], vectors: Sequence[Tensor]) -> Rows:
    """A row a query; weighted descriptions go into each word, as the best row has no weight."""
    part = _weighted(numbers, queries, vectors)
    is_word = torch.tensor([origin != 'description' for origin in part.origin])
    if bool((part.row_weight == 1).all()) or not is_word.any() or is_word.all():
        return part._replace(row_weight=torch.ones(len(numbers)))
    share = part.row_weight[is_word].sum() / part.row_weight.sum()
    described = (part.weight * part.row_weight[:, None])[~is_word].sum(0)
    described = described / part.row_weight[~is_word].sum()
    rows = F.normalize(share * part.weight[is_word] + (1 - share) * described, dim=-1)
    origin = [part.origin[n] for n in is_word.nonzero().flatten().tolist()]
    return _rows(rows, queries[numbers[0]].label, origin)
