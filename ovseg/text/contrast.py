"""Words that stand for "none of these": which of them are far enough from what is asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ovseg.errors import notify
from ovseg.text.combine import average_sentences
from ovseg.text.encoder import SentenceEncoder
from ovseg.vocabulary.contrast_words import contrast_words
from ovseg.vocabulary.parsing import VocabularyClass
from ovseg.vocabulary.templates import fill_template, get_templates
from ovseg.vocabulary.vocabulary import Vocabulary

# Of the words of a scene lexicon, those nearer than this to a class take its pixels.
DELTA = 0.9


def with_contrast(
    vocabulary: Vocabulary,
    encoder: SentenceEncoder,
    source: str | Path,
    templates: str | Path | Sequence[str] = 'openai-80',
    delta: float = DELTA,
    words: Collection[str] | None = None,
) -> Vocabulary:
    """The vocabulary with contrast words for its background; pixels that they win are rejected.

    Words of the vocabulary's own background stay. Where nothing is left, that is told.

    Args:
        vocabulary: what is asked for.
        encoder: the text model.
        source: as :func:`~ovseg.vocabulary.contrast_words.contrast_words` takes it; ``'none'``
            changes nothing.
        templates: what ``get_templates`` takes.
        delta: words whose cosine with a word of any class is this or more are left out.
        words: instead of the lexicon of ``'auto'``.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: the source holds no words.

    Source: contrastive concepts (Wysoczanska et al. 2024), as a union over the classes.
    """
    if source == 'none':
        return vocabulary
    rule = vocabulary.rejection
    candidates = contrast_words(source, vocabulary) if words is None else tuple(words)
    if not candidates and rule.words:  # they are its own already
        return (
            vocabulary.with_rejection(replace(rule, contrast='')) if rule.contrast else vocabulary
        )
    asked = [
        word for item in _foreground(vocabulary) for word in (item.prompts or item.descriptions)
    ]
    filled = get_templates(templates)
    vectors = word_vectors([*asked, *candidates], filled, encoder)
    nearness = (vectors[len(asked) :] @ vectors[: len(asked)].T).amax(1).tolist()
    kept = [
        word
        for word, cosine in zip(candidates, nearness, strict=True)
        if source == 'background' or cosine < delta
    ]
    if not kept:
        why = (
            f'all {len(candidates)} contrast words are within a cosine of {delta:g} of a class and '
            'are left out'
            if candidates
            else 'every contrast word is asked for'
        )
        notify(f'{why}: nothing stands for "none of these".')
        return _without_source(vocabulary)
    if rule.kind == 'class_zero':
        first = vocabulary.asked[0]
        more = [word for word in kept if word not in first.prompts]
        classes = (replace(first, prompts=(*first.prompts, *more)), *vocabulary.asked[1:])
        return Vocabulary(classes, replace(rule, contrast=''))
    more = [word for word in kept if word not in rule.words]
    found = replace(rule, kind='background', words=(*rule.words, *more), contrast='')
    return vocabulary.with_rejection(found)


def _without_source(vocabulary: Vocabulary) -> Vocabulary:
    """The vocabulary under its rule without contrast words, of which none were found."""
    rule = vocabulary.rejection
    if not rule.contrast:
        return vocabulary
    kind = 'threshold' if rule.kind == 'contrast' else rule.kind
    margin = rule.contrast_margin if rule.words or kind == 'class_zero' else 0.0
    return vocabulary.with_rejection(replace(rule, kind=kind, contrast='', contrast_margin=margin))


def cooccurring(
    query: Tensor,
    vocabulary: Tensor,
    cooccurrence: Tensor,
    gamma: float = 0.01,
    delta: float = 0.8,
    allowed: Tensor | None = None,
) -> Tensor:
    """Contrast words from statistics of captions: what is often seen with what is asked for.

    Args:
        query: (Q, D), what is asked for.
        vocabulary: (V, D), the words of the statistics.
        cooccurrence: (V, V), how often two words are in one caption; the diagonal says how often
            one is.
        gamma: least part of the captions with a word in which another is its contrast.
        delta: cosine from which two words are too near.
        allowed: (V,) bool, words that may be contrasts; None for all.

    Returns:
        (Q, V) bool, the contrast words of each query.

    Source: contrastive concepts, get_ccs.py (CC^D).
    """
    query, vocabulary = F.normalize(query, dim=-1), F.normalize(vocabulary, dim=-1)
    nearest = (query @ vocabulary.T).argmax(1)
    often = cooccurrence / cooccurrence.diagonal()[:, None] > gamma
    far = vocabulary @ vocabulary.T < delta
    found = (often & far)[nearest]
    return found if allowed is None else found & allowed


def _foreground(vocabulary: Vocabulary) -> Sequence[VocabularyClass]:
    """The classes that words of a background must not take pixels from."""
    is_background = vocabulary.rejection.kind == 'class_zero'
    return vocabulary.asked[1:] if is_background else vocabulary.asked


def word_vectors(
    words: Sequence[str], templates: Sequence[str], encoder: SentenceEncoder
) -> Tensor:
    """Unit vectors (W, D) of words, each the mean of its sentences.

    Args:
        words: put into the templates.
        templates: each with one ``{}``.
        encoder: the text model.
    """
    sentences = [fill_template(template, word) for word in words for template in templates]
    return torch.stack(
        [
            average_sentences(each, 'normalize_mean_normalize')
            for each in encoder.encode(sentences).split(len(templates))
        ]
    )
