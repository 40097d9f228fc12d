"""Score maps of phrases from SAM 3's heads: instances, semantic map and presence, fused.

What is kept of a phrase is small (the mask decoder's grid). Logits are resized to the image's own
size and cut only there, in the order of SAM 3's authors; transformers' post-processing takes the
sigmoid first, which draws other masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from ovseg.errors import UserError
from ovseg.images.windows import Box
from ovseg.row_resize import resize_rows
from ovseg.scores.row_map import ALL, Channels, RowMap

# A mask's pixel is where its probability is above, for the rule that sums instances.
_MASK = 0.5


@dataclass(frozen=True)
class Fusion:
    """How the heads of a phrase become its score in a pixel.

    With presence ``p``, instance scores ``s_i = sigmoid(logit_i) p`` and probabilities ``M_i`` and
    ``S`` of masks and semantic map, a phrase's score is ``max(p^a max_i M_i s_i, p^b S)``, over
    instances with ``s_i > confidence``; without any, and where a head is off, that part is 0.

    Attributes:
        confidence: in [0, 1].
        instances: ``'max'`` as above; ``'sum'`` adds up ``s_i`` where ``M_i > 0.5``, of
            ``s_i >= confidence``; None leaves instances out.
        semantic: whether the semantic map counts.
        instance_presence: a, beside the p that is in ``s_i``.
        semantic_presence: b.
        top_k: only so many queries of the largest raw scores may count; None for all.

    Raises:
        UserError: neither head, or numbers out of range.

    Source: SegEarth-OV3 (arXiv 2512.08730), release; ConceptBank (arXiv 2602.06333), release.
    """

    confidence: float = 0.5
    instances: Literal['max', 'sum'] | None = 'max'
    semantic: bool = True
    instance_presence: int = 1
    semantic_presence: int = 1
    top_k: int | None = None

    def __post_init__(self) -> None:
        if self.instances not in ('max', 'sum', None):
            raise UserError(
                f"fusion.instances must be 'max', 'sum' or None, got {self.instances!r}"
            )
        if self.instances is None and not self.semantic:
            raise UserError('fusion leaves out both heads; set instances or semantic')
        if not 0 <= self.confidence <= 1:
            raise UserError(f'fusion.confidence must be from 0 to 1, got {self.confidence!r}')
        if min(self.instance_presence, self.semantic_presence) < 0:
            raise UserError('fusion.instance_presence and semantic_presence must be at least 0')
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f'fusion.top_k must be at least 1, or None, got {self.top_k!r}')

    @property
    def needs_presence(self) -> bool:
        """Whether the decoder is run."""
        return self.instances is not None or self.semantic_presence > 0

    def instance_scores(self, scores: Tensor, presence: Tensor) -> tuple[Tensor, Tensor]:
        """Scores ``s_i`` (P, N), float32, and which of them count (P, N).

        Args:
            scores: (P, N) logits of queries.
            presence: (P,) logits.
        """
        raw = scores.float()
        sure = raw.sigmoid() * presence.float().sigmoid()[:, None]
        counts = sure >= self.confidence if self.instances == 'sum' else sure > self.confidence
        if self.top_k is not None and self.top_k < raw.shape[1]:
            best = raw.topk(self.top_k, dim=1).indices
            counts &= torch.zeros_like(counts).scatter_(1, best, True)
        return sure, counts


@dataclass(frozen=True, eq=False)
class PhraseAnswer:
    """What is kept of a phrase in one image or window.

    Attributes:
        presence: probability in [0, 1]; 1 where a rule does not ask for it.
        scores: (M,) float32, ``s_i`` of the instances that count.
        masks: (M, s, s) logits of them.
        boxes: (M, 4), x1, y1, x2, y2 in [0, 1] of the image.
        semantic: (s, s) logits, or None.
    """

    presence: float
    scores: Tensor
    masks: Tensor
    boxes: Tensor
    semantic: Tensor | None


@dataclass(frozen=True, eq=False)
class PhraseMaps(RowMap):
    """Scores of P phrases in [0, 1] (sums of instances may exceed it), at a size in pixels.

    Attributes:
        answers: for each window P answers; None for a phrase that was not asked, whose score is 0.
        boxes: where each window lies, (y1, x1, y2, x2) in pixels, end exclusive.
        map_size: (height, width) of what the windows lie in.
        fusion: see :class:`Fusion`.
        template: a tensor on the answers' device, float32.
    """

    answers: Sequence[Sequence[PhraseAnswer | None]]
    boxes: list[Box]
    map_size: tuple[int, int]
    fusion: Fusion
    template: Tensor

    @property
    @override
    def size(self) -> tuple[int, int]:
        return self.map_size

    @property
    @override
    def channels(self) -> int:
        return len(self.answers[0])

    @property
    @override
    def like(self) -> Tensor:
        return self.template

    @property
    @override
    def values_a_row(self) -> float:
        # Masks of one phrase are at this size at a time.
        masks = max(
            (len(each.masks) for window in self.answers for each in window if each), default=0
        )
        return (self.channels + 2 * masks + 2) * self.size[1]

    @override
    def rows(self, start: int, stop: int, channels: Channels = ALL) -> Tensor:
        chosen = torch.arange(self.channels)[channels].tolist()
        total = self.template.new_zeros(len(chosen), stop - start, self.size[1])
        is_whole = self.boxes == [(0, 0, *self.size)]
        count = self.template.new_zeros(stop - start, self.size[1])
        for window, (y1, x1, y2, x2) in zip(self.answers, self.boxes, strict=True):
            top, bottom = max(start, y1), min(stop, y2)
            if top >= bottom:
                continue
            count[top - start : bottom - start, x1:x2] += 1
            for row, phrase in enumerate(chosen):
                answer = window[phrase]
                if answer is not None:
                    part = fused_rows(
                        answer, self.fusion, top - y1, bottom - y1, (y2 - y1, x2 - x1)
                    )
                    total[row, top - start : bottom - start, x1:x2] += part
        return total if is_whole else total.div_(count)


def fused_rows(
    answer: PhraseAnswer, fusion: Fusion, start: int, stop: int, size: tuple[int, int]
) -> Tensor:
    """Rows (stop - start, W) of a phrase's score map.

    Args:
        answer: of the phrase.
        fusion: how its heads are fused.
        start: first row.
        stop: one past the last row.
        size: (H, W) of the whole map in pixels.
    """
    fused = answer.scores.new_zeros(stop - start, size[1])
    if fusion.instances is not None and len(answer.masks):
        masks = resize_rows(answer.masks.float(), start, stop, size).sigmoid_()
        weights = answer.scores[:, None, None] * answer.presence**fusion.instance_presence
        if fusion.instances == 'sum':
            fused = ((masks > _MASK) * weights).sum(0)
        else:
            fused = masks.mul_(weights).amax(0)
    if fusion.semantic and answer.semantic is not None:
        semantic = resize_rows(answer.semantic[None].float(), start, stop, size)[0].sigmoid_()
        fused = torch.maximum(fused, semantic * answer.presence**fusion.semantic_presence)
    return fused
