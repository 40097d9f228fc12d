"""Vocabulary x templates -> Classifier: which sentences are encoded, and what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import get_args

from ovseg.errors import UserError, nearest
from ovseg.text.classifier import Classifier
from ovseg.text.combine import Average, Combine, Query, average_sentences, combine_rows
from ovseg.text.encoder import SentenceEncoder
from ovseg.text.experts import ExpertClassifier, TemplateRanking, read_ranking
from ovseg.vocabulary.descriptions import Descriptions, descriptions_of
from ovseg.vocabulary.parsing import VocabularyClass
from ovseg.vocabulary.templates import fill_template, get_templates
from ovseg.vocabulary.vocabulary import Vocabulary

__all__ = ['Average', 'Combine', 'average_sentences', 'build_classifier']

# The plain name weighs no less than all its descriptions together.
_NAME_SHARE = 0.5


def build_classifier(
    vocabulary: Vocabulary,
    encoder: SentenceEncoder,
    templates: str | Path | Sequence[str] = 'openai-80',
    combine: Combine = 'mean',
    average: Average = 'normalize_mean_normalize',
    logit_scale: float | None = None,
    descriptions: str | Path | Descriptions | None = None,
    name_share: float | None = None,
    experts: str | Path | TemplateRanking | None = None,
) -> Classifier:
    """The classifier of a vocabulary.

    Args:
        vocabulary: classes with their prompts, and the rejection rule.
        encoder: the text model.
        templates: what ``get_templates`` takes.
        combine: how a class's prompts make its score. ``mean``: one row, the normalised mean
            of their vectors. ``max``: a row each, the best counts, probabilities are a softmax
            over all rows. ``max_score``: the same with a softmax over classes. ``mean_scores``:
            the mean of their scores, which is the score of the mean of their unit vectors.
            ``raw_mean``: one row, the normalised mean of all un-normalised encodings.
            ``sum_prob``: a row each, their probabilities are added up. ``lse``: the same, each
            with its share of the class, so that synonyms do not add weight. ``joined``: one
            prompt, ``"cat, kitten"``.
            The words of a background are never averaged: any of them may win (only ``joined``
            makes them one prompt).
        average: order in which the vectors of one prompt's sentences are averaged.
        logit_scale: factor before the softmax; the model's own by default.
        descriptions: sentences about the classes, a file that
            :func:`~ovseg.vocabulary.descriptions.descriptions_of` takes or what it gives;
            ``'wordnet'`` for synonyms of WordNet.
        name_share: in [0, 1], how much the words of a class weigh beside its descriptions: 0 leaves
            words out where there are descriptions. By default half with ``descriptions``; without,
            each description of the vocabulary counts as one more synonym.
        experts: a ranking of these templates, or its file; each class then has the classifier of
            its best template as its expert (:func:`~ovseg.text.experts.fuse_experts`).

    Returns:
        Rows in class order, on the CPU; with experts an
        :class:`~ovseg.text.experts.ExpertClassifier`.

    Raises:
        UserError: an unknown setting or template set, descriptions of none of the classes.
        FileNotFoundError: there is no such file.

    Source: docs/words.md has the formula of each rule and who uses it.
    """
    _check_choice('combine', combine, get_args(Combine))
    _check_choice('average', average, get_args(Average))
    if descriptions is not None:
        descriptions = descriptions_of(descriptions, vocabulary)
        vocabulary = descriptions.describe(vocabulary)
        name_share = _NAME_SHARE if name_share is None else name_share
    if name_share is not None and not 0 <= name_share <= 1:
        raise UserError(f'name_share must be a share from 0 to 1, got {name_share!r}')
    sentences = get_templates(templates)

    def build(some: Sequence[str]) -> Classifier:
        return _build(
            vocabulary, encoder, some, combine, average, logit_scale, descriptions, name_share
        )

    if experts is None:
        return build(sentences)
    ranking = experts if isinstance(experts, TemplateRanking) else read_ranking(experts)
    ranking.check_templates(sentences)
    best = ranking.experts(vocabulary, len(sentences))
    labels_of: dict[int, list[int]] = {}
    for label, template in enumerate(best):
        if template is not None:
            labels_of.setdefault(template, []).append(label)
    own = build(sentences)
    return ExpertClassifier(
        **{each.name: getattr(own, each.name) for each in fields(Classifier)},
        experts=tuple(
            (tuple(labels), build([sentences[template]])) for template, labels in labels_of.items()
        ),
    )


def _build(
    vocabulary: Vocabulary,
    encoder: SentenceEncoder,
    sentences: Sequence[str],
    combine: Combine,
    average: Average,
    logit_scale: float | None,
    descriptions: Descriptions | None,
    name_share: float | None,
) -> Classifier:
    queries = [
        query
        for label, item in enumerate(vocabulary.classes)
        for query in _class_queries(
            label,
            item,
            sentences,
            combine,
            name_share,
            None if descriptions is None else descriptions.weights(item),
        )
    ]
    embeddings = encoder.encode([sentence for query in queries for sentence in query.sentences])
    background = vocabulary.background_index
    rows = combine_rows(
        queries,
        embeddings.split([len(query.sentences) for query in queries]),
        combine,
        average,
        background,
    )
    classifier = Classifier(
        **rows._asdict(),
        num_classes=len(vocabulary),
        logit_scale=encoder.logit_scale if logit_scale is None else float(logit_scale),
        rejection=vocabulary.rejection,
        background_index=background,
        fingerprint=encoder.fingerprint,
    )
    return classifier.folded() if rows.aggregation == 'mean' else classifier


def _class_queries(
    label: int,
    item: VocabularyClass,
    templates: Sequence[str],
    combine: Combine,
    name_share: float | None,
    weights: Sequence[float] | None,
) -> list[Query]:
    """The queries of a class; descriptions are sentences already.

    Args:
        label: of the class.
        item: the class.
        templates: sentences for its words.
        combine: the rule.
        name_share: of its words, if it has both; None for equal weights.
        weights: of its descriptions among themselves; None for equal ones.
    """
    prompts = (', '.join(item.prompts),) if combine == 'joined' and item.prompts else item.prompts
    weights = [1.0] * len(item.descriptions) if weights is None else weights
    of_word, of_descriptions = 1.0, list(weights)
    if name_share is not None and item.descriptions:
        if prompts and name_share == 0:
            prompts = ()
        elif prompts:
            count, total = len(prompts) + len(weights), sum(weights)
            of_word = count * name_share / len(prompts)
            of_descriptions = [count * (1 - name_share) * each / total for each in weights]
    described = [
        Query(label, (text,), weight, 'description')
        for text, weight in zip(item.descriptions, of_descriptions, strict=True)
        if weight > 0
    ]
    words = [
        Query(label, tuple(fill_template(template, prompt) for template in templates), of_word)
        for prompt in prompts
    ]
    return words + described


def _check_choice(setting: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(
            f'unknown {setting} {value!r}, use one of {", ".join(known)}.'
            + nearest(str(value), known)
        )
