"""SAM 3's instances and semantic maps as masks with classes, of which segments are made."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from ovseg.regions.mask_maps import mask_maps
from ovseg.scores.phrase_maps import PhraseAnswer
from ovseg.scores.row_map import WindowMaps
from ovseg.segmentors.sam3_words import PhraseClassifier

# Two instances of a class are one where their masks overlap by more (IoU): synonyms find the same
# things, and the decoder suppresses none of its own.
_SAME = 0.5


def named_masks(
    answers: Mapping[int, PhraseAnswer],
    classifier: PhraseClassifier,
    size: tuple[int, int],
    stuff: Collection[int] = frozenset(),
) -> tuple[WindowMaps, Tensor]:
    """Masks of an image and their scores: instances of things, each stuff as a whole.

    Args:
        answers: of the phrases that were asked, by row.
        classifier: says which class a row is.
        size: (H, W) in pixels, to which the logits are resized at once.
        stuff: classes that are no things.

    Returns:
        M maps of logits, and scores (M, K), -inf for classes that a mask is not of.
    """
    index = classifier.class_index.tolist()
    masks: list[Tensor] = []
    scores: list[float] = []
    labels: list[int] = []
    for label in dict.fromkeys(index[row] for row in answers):
        own = [answers[row] for row in answers if index[row] == label]
        if label in stuff:
            whole = [(one.semantic, one.presence) for one in own if one.semantic is not None]
        else:
            whole = _things(own)
        for mask, score in whole:
            masks.append(mask.float())
            scores.append(score)
            labels.append(label)
    like = classifier.weight
    table = like.new_full((len(masks), classifier.num_classes), float('-inf'))
    table[torch.arange(len(masks)), torch.tensor(labels, dtype=torch.int64)] = like.new_tensor(
        scores
    )
    together = torch.stack(masks) if masks else like.new_empty(0, 1, 1)
    return mask_maps(together, size, size), table


def _things(answers: Sequence[PhraseAnswer]) -> list[tuple[Tensor, float]]:
    found = [
        (mask, score)
        for each in answers
        for mask, score in zip(each.masks, each.scores, strict=True)
    ]
    if not found:
        return []
    masks = torch.stack([mask.float() for mask, _ in found])
    scores = torch.stack([score for _, score in found])
    return [(masks[number], float(scores[number])) for number in distinct(masks, scores)]


def distinct(masks: Tensor, scores: Tensor) -> list[int]:
    """Masks that are no second copy of a surer one, the surest first.

    Args:
        masks: (M, s, s) logits.
        scores: (M,).

    Example:
        >>> distinct(torch.tensor([[[1., -1]], [[1., -1]], [[-1., 1]]]), torch.tensor([.5, .9, .6]))
        [1, 2]
    """
    inside = (masks > 0).flatten(1).float()
    shared, areas = inside @ inside.T, inside.sum(1)
    overlap = shared / (areas[:, None] + areas - shared).clamp_min(1)
    kept: list[int] = []
    for number in scores.argsort(descending=True, stable=True).tolist():
        if all(float(overlap[number, other]) <= _SAME for other in kept):
            kept.append(number)
    return kept
