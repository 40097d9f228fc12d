"""What text vectors alone say against a vocabulary, before any image is looked at."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from ovseg.text.contrast import word_vectors
from ovseg.text.encoder import SentenceEncoder
from ovseg.vocabulary.templates import get_templates
from ovseg.vocabulary.vocabulary import Vocabulary

# Cosine from which two classes are hard to tell apart by their words.
NEAR = 0.95


def check_vocabulary(
    vocabulary: Vocabulary,
    encoder: SentenceEncoder,
    templates: str | Path | Sequence[str] = 'openai-80',
    tokenizer: Any = None,
    near: float = NEAR,
) -> list[str]:
    """Sentences on words that will give trouble; none where there is nothing to say.

    Told are pairs of classes whose mean vectors are near, synonyms that are nearer to another class
    than to the rest of their own, and words that the tokenizer knows only in pieces. That one
    word stands in two classes is told where both have it.

    Args:
        vocabulary: the classes; the words of a background are compared with nothing.
        encoder: the text model.
        templates: what ``get_templates`` takes.
        tokenizer: of the text model, where it has a dictionary ``encoder`` as CLIP's has; None
            says nothing of pieces.
        near: cosine above which two classes are told.
    """
    items = [
        item
        for label, item in enumerate(vocabulary)
        if item.prompts and label != vocabulary.background_index
    ]
    words = [(number, word) for number, item in enumerate(items) for word in item.prompts]
    if not words:
        return []
    vectors = word_vectors([word for _, word in words], get_templates(templates), encoder)
    owner = torch.tensor([number for number, _ in words])
    sums = torch.zeros(len(items), vectors.shape[1]).index_add_(0, owner, vectors)
    means = F.normalize(sums, dim=1)
    said = []
    cosines = means @ means.T
    for first, second in (cosines.triu(1) > near).nonzero().tolist():
        said.append(
            f'{items[first].name!r} and {items[second].name!r} are nearly one for the model: '
            f'cosine {float(cosines[first, second]):.3f}'
        )
    for row, (number, word) in enumerate(words):
        if len(items[number].prompts) < 2 or len(items) < 2:
            continue
        rest = F.normalize(sums[number] - vectors[row], dim=0)
        own = float(rest @ vectors[row])
        to_others = (means @ vectors[row]).index_fill(0, torch.tensor(number), -2.0)
        other = int(to_others.argmax())
        if float(to_others[other]) > own:
            said.append(
                f'{word!r} of {items[number].name!r} is nearer to {items[other].name!r} (cosine '
                f'{float(to_others[other]):.3f}) than to its own other words ({own:.3f})'
            )
    return said + _in_pieces([word for _, word in words], tokenizer)


def _in_pieces(words: Sequence[str], tokenizer: Any) -> list[str]:
    known = getattr(tokenizer, 'encoder', None)
    if not isinstance(known, Mapping):
        return []
    said = []
    for word in words:
        parts = re.findall(r'[^\W\d_]+', word.lower())
        unknown = [part for part in parts if f'{part}</w>' not in known]
        if unknown:
            said.append(
                f"{word!r} is no word of the model's dictionary ({', '.join(unknown)}): it is "
                'read in pieces, and may mean little to the model'
            )
    return list(dict.fromkeys(said))
