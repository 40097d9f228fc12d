"""SAM 3's instances and semantic maps as segments of an image."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from ovseg.budget import MemoryBudget
from ovseg.regions.mask_maps import mask_maps
from ovseg.regions.mask_segments import Segments, SegmentSettings, find_segments
from ovseg.scores.phrase_maps import PhraseAnswer
from ovseg.segmentors.sam3_words import PhraseClassifier

# The authors' threshold of an instance's score.
SCORE_THRESHOLD = 0.5
# Two instances of a class are one where their masks overlap by more (IoU): synonyms find the same
# things, and the decoder suppresses none of its own.
_SAME = 0.5


def segments_of(
    answers: Mapping[int, PhraseAnswer],
    classifier: PhraseClassifier,
    size: tuple[int, int],
    budget: MemoryBudget,
    stuff: Collection[int] = frozenset(),
    settings: SegmentSettings | None = None,
) -> Segments:
    """Segments of an image: instances of things one by one, each stuff as one.

    Args:
        answers: of the phrases that were asked, by row.
        classifier: says which class a row is.
        size: (H, W) of the id map in pixels.
        budget: what strips of masks may take.
        stuff: classes that are no things.
        settings: which masks become segments; None for SAM 3's threshold.
    """
    index = classifier.class_index.tolist()
    masks: list[Tensor] = []
    scores: list[float] = []
    labels: list[int] = []
    for label in dict.fromkeys(index[row] for row in answers):
        own = [answers[row] for row in answers if index[row] == label]
        if label in stuff:
            for answer in own:
                if answer.semantic is not None:
                    masks.append(answer.semantic.float())
                    scores.append(answer.presence)
                    labels.append(label)
            continue
        found = torch.cat(
            [answer.masks.float() for answer in own if len(answer.masks)] or [torch.empty(0)]
        )
        sure = torch.cat([answer.scores for answer in own])
        for number in distinct(found, sure) if len(sure) else ():
            masks.append(found[number])
            scores.append(float(sure[number]))
            labels.append(label)
    classes = classifier.num_classes
    if not masks:
        nothing = torch.zeros(size, dtype=torch.int32, device=classifier.weight.device)
        return Segments(nothing, ())
    table = masks[0].new_full((len(masks), classes), float('-inf'))
    table[torch.arange(len(masks)), torch.tensor(labels)] = masks[0].new_tensor(scores)
    return find_segments(
        mask_maps(torch.stack(masks), size, size),
        table,
        size,
        budget,
        stuff=stuff,
        background=classifier.background_index,
        settings=settings or SegmentSettings(score_threshold=SCORE_THRESHOLD),
    )


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
