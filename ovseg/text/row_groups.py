"""Rows grouped into classes: how scores of rows become scores of classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import Tensor

Aggregation = Literal['linear', 'max', 'mean', 'max_score', 'lse']


@dataclass(frozen=True, eq=False)
class RowGroups:
    """P rows in K classes.

    Attributes:
        class_index: class of each row (P,), int64, ascending.
        num_classes: K; a class without rows is reached by rejection only.
        row_weight: share of each row in its class (P,), for ``linear``, ``mean`` and ``lse``.
        aggregation: how rows become classes: ``linear`` sums ``row_weight * score``, ``mean``
            is their weighted mean; ``max`` takes the best row, and probabilities are a softmax
            over all rows; ``max_score`` takes the best row, and then the softmax; ``lse`` is
            ``log(sum(row_weight * exp(scale * score))) / scale``, the sum of the rows'
            probabilities where all weights are 1.
        scale: factor of the scores before a softmax; ``lse`` alone asks for it.

    Raises:
        ValueError: indices or weights that contradict each other.
    """

    class_index: Tensor
    num_classes: int
    row_weight: Tensor
    aggregation: Aggregation
    scale: float = 1.0

    def __post_init__(self) -> None:
        known = get_args(Aggregation)
        if self.aggregation not in known:
            raise ValueError(
                f'aggregation must be one of {", ".join(known)}, got {self.aggregation!r}'
            )
        index = self.class_index
        if index.min() < 0 or index.max() >= self.num_classes:
            raise ValueError(
                f'class_index must be in 0..{self.num_classes - 1}, '
                f'got {int(index.min())}..{int(index.max())}'
            )
        if (index.diff() < 0).any():
            raise ValueError('class_index must ascend, sort the rows by class')
        if self._takes_the_best and not (self.row_weight == 1).all():
            raise ValueError(
                f'aggregation {self.aggregation!r} knows no row weights, leave them at 1'
            )
        if self.aggregation == 'lse' and not (self.row_weight > 0).all():
            raise ValueError("aggregation 'lse' takes the logarithm of row weights: above 0 only")

    def __len__(self) -> int:
        return len(self.class_index)

    def class_scores(self, rows: Tensor) -> Tensor:
        """Row scores (B, P, ...) aggregated to class scores (B, K, ...).

        A class without rows gets -inf. ``rows`` itself is returned where rows are classes.
        """
        self.check(rows)
        if self.rows_are_classes:
            return rows
        if self._takes_the_best:
            return self.best_rows(rows, empty=float('-inf'))
        if self.aggregation == 'lse':
            return self._log_sums(rows)
        share = self.share.to(rows.dtype).reshape(-1, *[1] * (rows.ndim - 2))
        scores = rows.new_zeros(rows.shape[0], self.num_classes, *rows.shape[2:])
        scores.index_add_(1, self.class_index, rows * share)
        if self._empty_classes:
            scores[:, self._empty_classes] = float('-inf')
        return scores

    def best_rows(self, rows: Tensor, empty: float) -> Tensor:
        """Maximum over each class's rows (B, K, ...); ``empty`` for a class without rows."""
        shape = (rows.shape[0], self.num_classes, *rows.shape[2:])
        best = rows.new_full(shape, empty)
        best[:, self.class_index[self.first_rows]] = rows[:, self.first_rows]
        for label, start, stop in self._groups_of_several:
            best[:, label] = rows[:, start:stop].amax(1)
        return best

    def _log_sums(self, rows: Tensor) -> Tensor:
        # Less each class's best, so that a class far below another keeps a finite score.
        best = self.best_rows(rows.float(), empty=float('-inf'))
        weight = self.row_weight.reshape(-1, *[1] * (rows.ndim - 2))
        above = (rows.float() - best[:, self.class_index]).mul_(self.scale).exp_().mul_(weight)
        sums = torch.zeros_like(best).index_add_(1, self.class_index, above)
        return best + sums.log_() / self.scale

    def of_probabilities(self) -> RowGroups:
        """The same rule for rows that are probabilities already: ``lse`` is then a plain sum."""
        return replace(self, aggregation='linear') if self.aggregation == 'lse' else self

    def competing(self, rows: Tensor) -> Tensor:
        """The scores that compete in a pixel: rows or, where rows sum up, classes."""
        self.check(rows)
        return rows if self.rows_compete else self.class_scores(rows)

    def label_of(self, winner: Tensor) -> Tensor:
        """Classes of indices among the competing scores."""
        return self.class_index[winner] if self.rows_compete else winner

    def class_rows(self, label: int) -> slice:
        """Which of the competing scores are a class's own."""
        if not self.rows_compete:
            return slice(label, label + 1)
        start = sum(self._counts[:label])
        return slice(start, start + self._counts[label])

    def check(self, rows: Tensor) -> None:
        """Raise if these are no scores (B, P, ...) of the rows."""
        if rows.ndim < 2 or rows.shape[1] != len(self):
            raise ValueError(f'row scores must be (B, {len(self)}, ...), got {tuple(rows.shape)}')

    def has_rows(self, label: int) -> bool:
        """Whether a class can win by a score."""
        return self._counts[label] > 0

    @property
    def _takes_the_best(self) -> bool:
        return self.aggregation in ('max', 'max_score')

    @cached_property
    def rows_are_classes(self) -> bool:
        """Whether row i alone is class i."""
        identity = torch.arange(self.num_classes, device=self.class_index.device)
        is_plain = self.aggregation == 'mean' or bool((self.row_weight == 1).all())
        return is_plain and torch.equal(self.class_index, identity)

    @cached_property
    def rows_compete(self) -> bool:
        """Whether the best row decides: with ``max``, or where no class has two rows."""
        if self.aggregation == 'max':
            return True
        return len(self.first_rows) == len(self) and bool((self.share == 1).all())

    @cached_property
    def share(self) -> Tensor:
        """Factor of each row in its class's score (P,)."""
        if self.aggregation != 'mean':
            return self.row_weight
        total = self.row_weight.new_zeros(self.num_classes)
        total.index_add_(0, self.class_index, self.row_weight)
        return self.row_weight / total[self.class_index]

    @cached_property
    def first_rows(self) -> Tensor:
        """The first row of each class that has any."""
        is_first = torch.ones_like(self.class_index, dtype=torch.bool)
        is_first[1:] = self.class_index.diff() > 0
        return is_first.nonzero().flatten()

    @cached_property
    def _counts(self) -> list[int]:
        return torch.bincount(self.class_index, minlength=self.num_classes).tolist()

    @cached_property
    def _empty_classes(self) -> list[int]:
        return [label for label, count in enumerate(self._counts) if not count]

    @cached_property
    def _groups_of_several(self) -> list[tuple[int, int, int]]:
        """Label, first row and end of the rows, for classes of more than one row."""
        groups, start = [], 0
        for label, count in enumerate(self._counts):
            if count > 1:
                groups.append((label, start, start + count))
            start += count
        return groups
