"""The words that one step of a training is taught with: drawn synonyms, and few absent classes.

A decoder that hears the same names in every step learns those names. GKC says another synonym each
time, one that CLIP finds in the target; a decoder that looks at the words (PMP) must not count on
the same list of them either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.clip_pyramid import CLIPPyramid
from ovseg.errors import UserError
from ovseg.settings import read_settings
from ovseg.text.classifier import Classifier
from ovseg.text.cosine import cosine_logits


@dataclass(frozen=True)
class DrawnWords:
    """What changes from step to step of a training.

    Attributes:
        synonym_probability: each target is called by one synonym of its class, drawn from those
            that CLIP gives at least this probability among them, in [0, 1]; GKC's release 0.1.
            None: the classes keep all their rows.
        absent_classes: how many classes that no image of the batch shows are asked for, too, drawn
            anew; None for all.

    Raises:
        UserError: a value out of range.
    """

    synonym_probability: float | None = None
    absent_classes: int | None = None

    def __post_init__(self) -> None:
        least, absent = self.synonym_probability, self.absent_classes
        if least is not None and not 0 <= least <= 1:
            raise UserError(
                f'model.drawn_words.synonym_probability must be from 0 to 1, got {least!r}'
            )
        if absent is not None and absent < 0:
            raise UserError(
                'model.drawn_words.absent_classes must be 0 or more, or None for all, '
                f'got {absent!r}'
            )

    @property
    def draws(self) -> bool:
        """Whether anything changes at all."""
        return self.synonym_probability is not None or self.absent_classes is not None

    @classmethod
    def from_config(cls, settings: Mapping[str, Any] | None) -> DrawnWords:
        """The settings of a config.

        Args:
            settings: by name; None for a training in which no word changes.

        Raises:
            UserError: an unknown name, or a value out of range.
        """
        return read_settings(cls, settings, 'model.drawn_words')

    def draw(
        self,
        classifier: Classifier,
        targets: Sequence[InstanceData],
        taught: Sequence[Tensor],
        scale: float,
    ) -> tuple[Classifier, list[InstanceData]]:
        """The words of one step, and its targets with labels among them.

        Args:
            classifier: rows and classes of the training.
            targets: a ``labels`` (n,) and ``masks`` (n, H, W) for each image; left as they are.
            taught: (n, E) of each image, of :func:`target_embeddings`.
            scale: of CLIP's cosines.
        """
        columns = _rows_by_class(classifier)
        labels = [target.labels for target in targets]
        if self.synonym_probability is not None:
            columns, labels = _with_synonyms(
                classifier, columns, labels, taught, scale, self.synonym_probability
            )
        if self.absent_classes is not None:
            columns, labels = _with_absent(columns, labels, self.absent_classes)
        called = [
            InstanceData(labels=own, masks=target.masks)
            for own, target in zip(labels, targets, strict=True)
        ]
        return _with_columns(classifier, columns), called


@torch.no_grad()
def target_embeddings(
    pyramid: CLIPPyramid, dense: Tensor, targets: Sequence[InstanceData]
) -> list[Tensor]:
    """CLIP's embeddings of what the targets cover, (n, E) for each image.

    A target has the places of CLIP's last map that it covers at least half as much as the place
    that it covers most, so that a small one has a place, too.

    Args:
        pyramid: the CLIP.
        dense: (B, C, h, w), the last of its levels.
        targets: a ``masks`` (n, H, W) for each image.
    """
    found = []
    for own, target in zip(dense, targets, strict=True):
        if not len(target.masks):
            found.append(own.new_zeros(0, pyramid.embed_dim))
            continue
        covered = F.adaptive_avg_pool2d(target.masks[None].float(), own.shape[1:])
        # Above 0 from exactly half on.
        inside = (covered >= covered.amax((2, 3), keepdim=True) / 2) & (covered > 0)
        found.append(pyramid.embed_masks(own[None].float(), inside.float())[0])
    return found


def _rows_by_class(classifier: Classifier) -> list[list[int]]:
    """The rows of each class."""
    rows: list[list[int]] = [[] for _ in range(classifier.num_classes)]
    for row, label in enumerate(classifier.class_index.tolist()):
        rows[label].append(row)
    return rows


def _with_synonyms(
    classifier: Classifier,
    columns: Sequence[Sequence[int]],
    labels: Sequence[Tensor],
    taught: Sequence[Tensor],
    scale: float,
    least: float,
) -> tuple[list[list[int]], list[Tensor]]:
    """One row a column: names, drawn synonyms in their place, further ones after all classes."""
    names = [list(rows[:1]) for rows in columns]
    column_of: dict[int, int] = {}
    is_taken: set[int] = set()
    called = []
    for own, embeddings in zip(labels, taught, strict=True):
        numbers = []
        for label, embedding in zip(own.tolist(), embeddings, strict=True):
            row = _drawn(classifier, columns[label], embedding, scale, least)
            if row not in column_of:
                column_of[row] = len(names) if label in is_taken else label
                if label in is_taken:
                    names.append([row])
                else:
                    names[label] = [row]
                is_taken.add(label)
            numbers.append(column_of[row])
        called.append(own.new_tensor(numbers))
    return names, called


def _drawn(
    classifier: Classifier, rows: Sequence[int], embedding: Tensor, scale: float, least: float
) -> int:
    """One of a class's rows, each that CLIP finds probable as often as any other."""
    if len(rows) == 1:
        return rows[0]
    found = cosine_logits(embedding, classifier.weight[list(rows)], scale).softmax(0)
    probable = (found >= min(least, float(found.max()))).nonzero().flatten().tolist()
    return rows[probable[int(torch.randint(len(probable), ()))]]


def _with_absent(
    columns: Sequence[list[int]], labels: Sequence[Tensor], count: int
) -> tuple[list[list[int]], list[Tensor]]:
    """The columns of the labels and some others, in order."""
    shown = set(torch.cat(list(labels)).tolist()) if labels else set()
    absent = [index for index, rows in enumerate(columns) if rows and index not in shown]
    drawn = torch.randperm(len(absent))[:count].tolist()
    # A batch without targets still needs a word.
    kept = sorted(shown | {absent[index] for index in drawn} or set(absent[:1]))
    place = {column: number for number, column in enumerate(kept)}
    called = [own.new_tensor([place[label] for label in own.tolist()]) for own in labels]
    return [columns[index] for index in kept], called


def _with_columns(classifier: Classifier, columns: Sequence[Sequence[int]]) -> Classifier:
    """The rows of a classifier as other classes."""
    device = classifier.weight.device
    rows = torch.tensor([row for column in columns for row in column], device=device)
    counts = torch.tensor([len(column) for column in columns], device=device)
    return Classifier(
        weight=classifier.weight[rows],
        class_index=torch.arange(len(columns), device=device).repeat_interleave(counts),
        num_classes=len(columns),
        logit_scale=classifier.logit_scale,
        row_weight=classifier.row_weight[rows],
        bias=classifier.bias[rows],
        aggregation=classifier.aggregation,
        fingerprint=classifier.fingerprint,
    )
