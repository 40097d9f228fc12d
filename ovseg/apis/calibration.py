"""Fits the limit of a rejection rule to a few labelled images."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ovseg.apis.encoded_image import EncodedImage
from ovseg.apis.segmenter import OpenVocabSegmenter
from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.evaluation.doubt import DoubtCounts, doubt_of
from ovseg.files import written_whole
from ovseg.scores.decide import rule_of_image
from ovseg.segmentors.fitted_rules import competing_names, score_facts
from ovseg.text import Classifier
from ovseg.torch_modes import plain_torch
from ovseg.vocabulary import Rejection, build_vocabulary
from ovseg.vocabulary.fitting import Fitting
from ovseg.vocabulary.rejection import FILE_FORMAT

IGNORED = 255
# Kinds that say where pixels of no class go to, and stay when a limit is added.
_PLACES = ('background', 'class_zero')
# Kinds of rules that are not called like the field of their limit.
_KINDS = {'contrast_margin': 'contrast'}


@dataclass(frozen=True)
class Calibration:
    """A fitted rule, and how well it tells.

    Attributes:
        rejection: the rule with its limit; ``fitted`` says on which classes and whose scores.
        limit: the same limit.
        criterion: what it was chosen by, in words.
        auroc: chance in [0, 1] that a pixel of no class is doubted more than one of a class; None
            without pixels of no class.
        false_alarms: share of the classes' pixels lost where 95 % of those of no class are found;
            None likewise.
        curve: risk by coverage, see :meth:`ovseg.evaluation.DoubtCounts.curve`.
        pixels: how many were right, wrong and of no class.
        model: that was asked.
        classes: names of the asked classes.
    """

    rejection: Rejection
    limit: float
    criterion: str
    auroc: float | None
    false_alarms: float | None
    curve: tuple[dict[str, float | None], ...]
    pixels: tuple[int, int, int]
    model: str
    classes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what :meth:`save` writes."""
        return {
            'format': FILE_FORMAT,
            'rejection': self.rejection.to_dict(),
            'model': self.model,
            'classes': list(self.classes),
            'criterion': self.criterion,
            'auroc': self.auroc,
            'fpr95': self.false_alarms,
            'pixels': dict(zip(('right', 'wrong', 'none'), self.pixels, strict=True)),
            'curve': list(self.curve),
        }

    def save(self, path: str | Path) -> Path:
        """Write the JSON file that ``--rejection`` and ``Rejection.build`` read.

        Args:
            path: ending in ``.json``; appears whole or not at all.

        Raises:
            UserError: another ending, or it cannot be written.
        """
        check_name(path)
        with written_whole(path) as temporary:
            text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False)
            temporary.write_text(text + '\n', encoding='utf-8')
        return Path(path)


def check_name(path: str | Path) -> None:
    """Stops at a name that ``--rejection`` would not take for a file.

    Args:
        path: of the file to be.

    Raises:
        UserError: it does not end in ``.json``.
    """
    if not str(path).endswith('.json'):
        raise UserError(f'the file of a rejection rule ends in .json, {path} does not')


def calibrate(
    segmenter: OpenVocabSegmenter,
    images: Iterable[tuple[Any, npt.ArrayLike]],
    words: Any,
    rule: str = 'threshold',
    *,
    background: Any = None,
    keep: float | None = None,
) -> Calibration:
    """Fits a rejection rule's limit to labelled images.

    Args:
        segmenter: whose probabilities are meant.
        images: pairs of an image, as ``segment`` takes it, and its labels (H, W): the number of a
            class in the words' order, the number of classes (or more) for "none of these", 255
            where nobody knows.
        words: the classes, as ``segment`` takes them; tests of their own rule are not looked at.
        rule: ``'threshold'``, ``'margin'``, ``'energy'``, or ``'contrast_margin'`` where words
            stand for "none of these": ``background``, or the segmenter's contrast words.
        background: words for "none of these", as in ``segment``; those pixels are rejected as is.
        keep: fit the strictest limit that keeps this share, in (0, 1], of the pixels that are
            right; None: where pixels of no class are labelled the limit that best tells these from
            the others (the largest sum of both shares), else ``keep=0.95``.

    Returns:
        The fitted rule and its curve.

    Raises:
        UserError: no images, labels of another size, no class or pixel to fit to, an unknown rule.
    """
    doubt_of(rule)
    if keep is not None and not 0 < keep <= 1:
        raise UserError(f'keep must be a share above 0 and at most 1, got {keep!r}')
    asked, _ = segmenter.question(_without_fitting(words), background)
    stated = asked.rejection
    base = Rejection(stated.kind if stated.kind in _PLACES else 'threshold', words=stated.words)
    vocabulary, classifier = segmenter.question(asked.with_rejection(base))
    none = vocabulary.background_index
    first = len(vocabulary) - len(asked.asked)
    total, count = DoubtCounts.empty(rule), 0
    for image, labels in images:
        truth = _truth(labels, first, len(asked.asked), none)
        encoded = segmenter.encode(image)
        if tuple(truth.shape) != encoded.image.shape[:2]:
            raise UserError(
                f'the labels of {encoded.source or f"image {count + 1}"} are '
                f'{tuple(truth.shape)} pixels, the image is {encoded.image.shape[:2]}'
            )
        total += _doubts(segmenter, encoded, classifier, rule, truth)
        count += 1
    if not count:
        raise UserError('no labelled image to fit a rejection rule to')
    has_none = bool(total.none.sum())
    if keep is None and has_none:
        limit, criterion = total.limit_that_tells(), 'tells best what is none of the classes'
    else:
        share = 0.95 if keep is None else keep
        limit, criterion = total.limit_that_keeps(share), f'keeps {share:.0%} of what is right'
    fitted = Fitting(
        len(classifier.groups.first_rows),
        round(classifier.logit_scale, 4),
        count,
        competing_names(vocabulary, classifier),
        tuple(sorted(score_facts(segmenter.model, classifier).items())),
    )
    kind = base.kind if base.kind in _PLACES else _KINDS.get(rule, rule)
    chosen = Rejection.build({'kind': kind, 'words': base.words, rule: limit, 'fitted': fitted})
    right, wrong, others = total.counts.sum(1).tolist()
    return Calibration(
        chosen,
        limit,
        criterion,
        total.auroc() if has_none else None,
        total.false_alarms() if has_none else None,
        tuple(total.curve()),
        (right, wrong, others),
        segmenter.name,
        tuple(item.name for item in asked.asked),
    )


def _without_fitting(words: Any) -> Any:
    """The words under a rule of their own that may have been fitted elsewhere."""
    if words is None:
        return None
    vocabulary = build_vocabulary(words)
    if vocabulary is None or vocabulary.rejection.fitted is None:
        return words
    return vocabulary.with_rejection(replace(vocabulary.rejection, fitted=None))


def _truth(labels: npt.ArrayLike, first: int, classes: int, none: int | None) -> Tensor:
    """Labels as the vocabulary has them, which may put a background before the classes."""
    numbers = np.asarray(labels)
    if numbers.ndim != 2:
        raise UserError(f'labels must be (H, W), got {tuple(numbers.shape)}')
    if numbers.dtype.kind not in 'bui' or (numbers < 0).any():
        raise UserError(
            'labels must be whole numbers from 0 on: classes in the order of the words, '
            f'{classes} for none of these, {IGNORED} where nobody knows'
        )
    given = torch.from_numpy(numbers.astype(np.int64))
    is_none = (given >= classes) & (given != IGNORED)
    known = (given + first).masked_fill(is_none, -1 if none is None else none)
    return torch.where(given == IGNORED, IGNORED, known)


def _doubts(
    segmenter: OpenVocabSegmenter,
    encoded: EncodedImage,
    classifier: Classifier,
    rule: str,
    truth: Tensor,
) -> DoubtCounts:
    size = (truth.shape[0], truth.shape[1])

    def counted(budget: MemoryBudget) -> DoubtCounts:
        scores = segmenter.model.scores(encoded.encoding, classifier, size, budget)
        judge = rule_of_image(scores, segmenter.model.rule(classifier), budget)
        total = DoubtCounts.empty(rule)
        for start, stop in scores.strips(budget):
            seen = judge.evidence(scores.rows(start, stop)[None])
            total += DoubtCounts.of_pixels(
                rule,
                doubt_of(rule).read(seen)[0],
                seen.label[0],
                truth[start:stop],
                judge.background_index,
                IGNORED,
            )
        return total

    with plain_torch():
        return segmenter.memory.in_strips(counted, size, classifier.num_classes)
