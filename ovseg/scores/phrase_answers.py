"""From SAM 3's heads of some phrases to what is kept of each."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ovseg.encoders.sam3_concepts import ConceptHeads, Wanted
from ovseg.scores.phrase_maps import Fusion, PhraseAnswer


def heads_of(fusion: Fusion) -> list[Wanted]:
    """The heads that a fusion reads.

    Args:
        fusion: of a rule.
    """
    wanted: list[Wanted] = []
    if fusion.needs_presence:
        wanted.append('presence')
    if fusion.instances is not None:
        wanted.append('instances')
    if fusion.semantic:
        wanted.append('semantic')
    return wanted


def answers_of(heads: ConceptHeads, fusion: Fusion) -> Sequence[PhraseAnswer]:
    """What is kept of the heads of P phrases.

    Args:
        heads: of a block of phrases.
        fusion: which instances count.
    """
    any_head = next(
        each for each in (heads.semantic, heads.masks, heads.presence) if each is not None
    )
    count = len(any_head)
    nothing = any_head.new_empty(0, dtype=torch.float32)
    presence = [1.0] * count
    if heads.presence is not None:
        presence = heads.presence.float().sigmoid().tolist()
    answers = []
    sure = counts = None
    if heads.scores is not None and heads.presence is not None:
        sure, counts = fusion.instance_scores(heads.scores, heads.presence)
    for row in range(count):
        scores, masks, boxes = nothing, nothing.view(0, 1, 1), nothing.view(0, 4)
        if sure is not None and counts is not None:
            assert heads.masks is not None and heads.queries is not None and heads.boxes is not None
            of_masks = heads.queries[row]
            is_kept = counts[row, of_masks]
            queries = of_masks[is_kept]
            scores, masks = sure[row, queries], heads.masks[row, is_kept].clone()
            boxes = heads.boxes[row, queries].float()
        semantic = (
            heads.semantic[row].clone() if heads.semantic is not None and fusion.semantic else None
        )
        answers.append(PhraseAnswer(presence[row], scores, masks, boxes, semantic))
    return answers
