"""Rows of text vectors that score patch features, and the rule that makes labels of scores."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import Tensor

from ovseg.vocabulary.rejection import Rejection

Aggregation = Literal['linear', 'max', 'mean']

# Keeps a pixel without any probability from dividing by zero.
_TINY = 1e-12
# Temporary values of a threshold's comparison, small enough for the processor's caches.
_CHUNK_VALUES = 1 << 20


@dataclass(frozen=True, eq=False)
class Classifier:
    """P query rows in the text space, grouped into K classes.

    Attributes:
        weight: rows (P, D), float32, of unit length (folded rows may be shorter).
        class_index: class of each row (P,), int64, ascending.
        num_classes: K; a class without rows is reached by rejection only.
        logit_scale: factor of the scores before a softmax.
        row_weight: share of each row in its class (P,), for ``linear`` and ``mean``.
        bias: added to the scores of each row (P,).
        origin: where each row comes from, ``'text'``.
        aggregation: how rows become classes: ``linear`` sums ``row_weight * score``, ``mean``
            is their weighted mean, ``max`` takes the best row.
        rejection: rule for pixels that belong to no class.
        background_index: label of rejected pixels.
        fingerprint: the text model that made the rows.

    Raises:
        ValueError: shapes, indices or rules that contradict each other.
    """

    weight: Tensor
    class_index: Tensor
    num_classes: int
    logit_scale: float
    row_weight: Tensor = None  # type: ignore[assignment]  # None: __post_init__ fills in ones
    bias: Tensor = None  # type: ignore[assignment]  # None: __post_init__ fills in zeros
    origin: tuple[str, ...] = ()
    aggregation: Aggregation = 'linear'
    rejection: Rejection = field(default_factory=Rejection)
    background_index: int | None = None
    fingerprint: str = ''

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or not len(self.weight):
            raise ValueError(f'weight must be (P, D), got {tuple(self.weight.shape)}')
        rows, device = len(self.weight), self.weight.device
        if self.row_weight is None:
            object.__setattr__(self, 'row_weight', torch.ones(rows, device=device))
        if self.bias is None:
            object.__setattr__(self, 'bias', torch.zeros(rows, device=device))
        if not self.origin:
            object.__setattr__(self, 'origin', ('text',) * rows)
        for name in ('class_index', 'row_weight', 'bias'):
            shape = tuple(getattr(self, name).shape)
            if shape != (rows,):
                raise ValueError(f'{name} must be ({rows},) like the rows of weight, got {shape}')
        if len(self.origin) != rows:
            raise ValueError(f'origin must name all {rows} rows, got {len(self.origin)}')
        if self.aggregation not in get_args(Aggregation):
            raise ValueError(f'aggregation must be linear, max or mean, got {self.aggregation!r}')
        self._check_classes()

    def _check_classes(self) -> None:
        index = self.class_index
        if index.min() < 0 or index.max() >= self.num_classes:
            raise ValueError(
                f'class_index must be in 0..{self.num_classes - 1}, '
                f'got {int(index.min())}..{int(index.max())}'
            )
        if (index.diff() < 0).any():
            raise ValueError('class_index must ascend, sort the rows by class')
        if self.aggregation == 'max' and not (self.row_weight == 1).all():
            raise ValueError("aggregation 'max' knows no row weights, leave them at 1")
        if self.rejection.rejects != (self.background_index is not None):
            raise ValueError(
                f'rejection {self.rejection.kind!r} does not fit '
                f'background_index {self.background_index}'
            )

    def to(self, device: torch.device | str) -> Classifier:
        """The same classifier with its tensors on ``device``."""
        if self.weight.device == torch.device(device):
            return self
        names = ('weight', 'class_index', 'row_weight', 'bias')
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def check_model(self, fingerprint: str) -> None:
        """Raise if features of the model ``fingerprint`` are not the rows' own.

        Raises:
            ValueError: another text model made the rows, so the scores would mean nothing.
        """
        if fingerprint != self.fingerprint:
            raise ValueError(
                f'the classifier was made by text model {self.fingerprint!r} but the features '
                f'are of {fingerprint!r}, build it again with the model in use'
            )

    def folded(self) -> Classifier:
        """One row a class with the same class scores; ``max`` cannot fold and stays as it is."""
        if self.aggregation == 'max' or (self.aggregation == 'linear' and self.rows_are_classes):
            return self
        share = self._share
        present, position = self.class_index.unique_consecutive(return_inverse=True)
        weight = self.weight.new_zeros(len(present), self.weight.shape[1])
        weight.index_add_(0, position, self.weight * share[:, None])
        bias = self.bias.new_zeros(len(present)).index_add_(0, position, self.bias * share)
        first = self._first_rows.tolist()
        return replace(
            self,
            weight=weight,
            class_index=present,
            row_weight=torch.ones_like(bias),
            bias=bias,
            origin=tuple(self.origin[row] for row in first),
            aggregation='linear',
        )

    def row_scores(self, features: Tensor, normalize: bool = True) -> Tensor:
        """Cosine of every feature with every row, plus the row's bias.

        Args:
            features: patch features (B, D, h, w) in the text space.
            normalize: divide features by their length first (no epsilon); off if they are unit
                vectors already.

        Returns:
            Scores (B, P, h, w), float32.

        Raises:
            ValueError: D is not the classifier's.
        """
        if features.ndim != 4 or features.shape[1] != self.weight.shape[1]:
            raise ValueError(
                f'features must be (B, {self.weight.shape[1]}, h, w) for rows '
                f'{tuple(self.weight.shape)}, got {tuple(features.shape)}'
            )
        height, width = features.shape[2:]
        # Cosines differ in the third digit, so half precision and autocast end here; and matmul,
        # unlike a 1x1 convolution, keeps float32 on GPUs that offer TF32.
        features = features.float().flatten(2)
        if normalize:
            features = features / features.norm(dim=1, keepdim=True)
        with torch.autocast(features.device.type, enabled=False):
            scores = self.weight @ features
        if self._has_bias:
            scores = scores + self.bias[:, None]
        return scores.unflatten(2, (height, width))

    def class_scores(self, rows: Tensor) -> Tensor:
        """Row scores (B, P, ...) aggregated to class scores (B, K, ...).

        A class without rows gets -inf. ``rows`` itself is returned where rows are classes.
        """
        self._check_rows(rows)
        if self.rows_are_classes:
            return rows
        if self.aggregation == 'max':
            return self._best_rows(rows, empty=float('-inf'))
        share = self._share.to(rows.dtype).reshape(-1, *[1] * (rows.ndim - 2))
        scores = rows.new_zeros(rows.shape[0], self.num_classes, *rows.shape[2:])
        scores.index_add_(1, self.class_index, rows * share)
        if self._empty_classes:
            scores[:, self._empty_classes] = float('-inf')
        return scores

    def scores(self, features: Tensor) -> Tensor:
        """Class scores (B, K, h, w) of patch features (B, D, h, w)."""
        return self.class_scores(self.row_scores(features))

    def probabilities(
        self, rows: Tensor, are_probabilities: bool = False, allowed: Tensor | None = None
    ) -> Tensor:
        """Class probabilities (B, K, ...), float32, of row scores (B, P, ...).

        With ``max`` the softmax runs over all rows and a class takes its best row's share (so
        they may sum to less than 1); else it runs over the class scores. A class without rows
        gets 0.

        Args:
            rows: scores, as ``row_scores`` gives them and resized at will.
            are_probabilities: ``rows`` went through a softmax already (key smoothing does
                that); they are then only scaled to sum to 1, negative ones counting as 0.
            allowed: (K,) bool; classes that are not get 0, the others keep their shares.

        Source: SCLIP, CLIP_Segmentor.postprocess_result (softmax of queries, maximum a class).
        """
        scores = self._competing(rows).float()
        if are_probabilities:
            shares = scores.clamp_min(0)
            shares = shares / shares.sum(1, keepdim=True).clamp_min(_TINY)
        else:
            shares = (scores * self.logit_scale).softmax(1)
        is_by_class = self.rows_are_classes or not self._rows_compete
        shares = shares if is_by_class else self._best_rows(shares, empty=0.0)
        if allowed is not None:
            shares = shares * allowed.view(-1, *[1] * (shares.ndim - 2))
        return shares

    def best_classes(self, rows: Tensor) -> Tensor:
        """Labels (B, ...), int64, of the best classes of row scores (B, P, ...), none rejected."""
        winner = self._competing(rows).argmax(dim=1)
        return self.class_index[winner] if self._rows_compete else winner

    def large_classes(self, labels: Tensor) -> Tensor:
        """Which classes an image keeps under the rejection rule's ``min_area``.

        Args:
            labels: of one image, from ``best_classes``.

        Returns:
            (K,) bool; the background is always kept.

        Source: SCLIP, area rule of CLIP_Segmentor.postprocess_result.
        """
        counts = labels.flatten().bincount(minlength=self.num_classes).float()
        counts[self.background_index] = 0
        large = counts > self.rejection.min_area * counts.sum()
        large[self.background_index] = True
        return large

    def decide(
        self, rows: Tensor, are_probabilities: bool = False, allowed: Tensor | None = None
    ) -> Tensor:
        """Labels (B, ...), int64, of row scores (B, P, ...), rejection included.

        Each pixel is decided by itself, so any strip of a map gives that strip of the result.
        Ties go to the first class. No softmax is computed: the largest probability is
        ``1 / sum(exp(logit_scale * (score - best score)))``.

        Args:
            rows: scores, as ``row_scores`` gives them and resized at will.
            are_probabilities: see ``probabilities``.
            allowed: see ``probabilities``; no pixel gets a class that is not.
        """
        scores = self._competing(rows)
        candidates = scores
        if allowed is not None:
            label_of = self.class_index if self._rows_compete else torch.arange(len(allowed))
            is_out = ~allowed[label_of.to(allowed.device)]
            candidates = scores.masked_fill(
                is_out.view(-1, *[1] * (scores.ndim - 2)), float('-inf')
            )
        best, winner = candidates.max(dim=1)
        labels = self.class_index[winner] if self._rows_compete else winner
        if self.background_index is None:
            return labels
        if allowed is not None:
            labels = labels.masked_fill(best == float('-inf'), self.background_index)
        if self.rejection.threshold == 0:
            return labels
        if are_probabilities:
            total = scores.float().clamp_min(0).sum(1).clamp_min_(_TINY)
            largest = best.float().clamp_min(0) / total
        else:
            largest = self._largest_share(scores, best)
        return labels.masked_fill(largest < self.rejection.threshold, self.background_index)

    def _competing(self, rows: Tensor) -> Tensor:
        """The scores that compete in a pixel: rows or, where rows sum up, classes."""
        self._check_rows(rows)
        return rows if self._rows_compete else self.class_scores(rows)

    def _largest_share(self, scores: Tensor, best: Tensor) -> Tensor:
        """Softmax probability of the best scores (B, ...), float32, a few rows at a time."""
        best = best.float().unsqueeze(1)
        rows_at_once = max(1, _CHUNK_VALUES // max(1, best.numel()))
        total = torch.zeros_like(best[:, 0])
        for part in scores.split(rows_at_once, dim=1):
            total += (part.float() - best).mul_(self.logit_scale).exp_().sum(1)
        return total.reciprocal_()

    def _check_rows(self, rows: Tensor) -> None:
        if rows.ndim < 2 or rows.shape[1] != len(self.weight):
            raise ValueError(
                f'row scores must be (B, {len(self.weight)}, ...), got {tuple(rows.shape)}'
            )

    def _best_rows(self, rows: Tensor, empty: float) -> Tensor:
        """Maximum over each class's rows (B, K, ...); ``empty`` for a class without rows."""
        shape = (rows.shape[0], self.num_classes, *rows.shape[2:])
        best = rows.new_full(shape, empty)
        best[:, self.class_index[self._first_rows]] = rows[:, self._first_rows]
        for label, start, stop in self._row_groups:
            best[:, label] = rows[:, start:stop].amax(1)
        return best

    @cached_property
    def rows_are_classes(self) -> bool:
        """Whether row i alone is class i."""
        identity = torch.arange(self.num_classes, device=self.class_index.device)
        is_plain = self.aggregation != 'linear' or bool((self.row_weight == 1).all())
        return is_plain and torch.equal(self.class_index, identity)

    @cached_property
    def _rows_compete(self) -> bool:
        """Whether the best row decides: with ``max``, or where no class has two rows."""
        if self.aggregation == 'max':
            return True
        return len(self._first_rows) == len(self.weight) and bool((self._share == 1).all())

    @cached_property
    def _has_bias(self) -> bool:
        return bool(self.bias.any())

    @cached_property
    def _counts(self) -> list[int]:
        return torch.bincount(self.class_index, minlength=self.num_classes).tolist()

    @cached_property
    def _empty_classes(self) -> list[int]:
        return [label for label, count in enumerate(self._counts) if not count]

    @cached_property
    def _first_rows(self) -> Tensor:
        is_first = torch.ones_like(self.class_index, dtype=torch.bool)
        is_first[1:] = self.class_index.diff() > 0
        return is_first.nonzero().flatten()

    @cached_property
    def _row_groups(self) -> list[tuple[int, int, int]]:
        """Label, first row and end of the rows, for classes of more than one row."""
        groups, start = [], 0
        for label, count in enumerate(self._counts):
            if count > 1:
                groups.append((label, start, start + count))
            start += count
        return groups

    @cached_property
    def _share(self) -> Tensor:
        """Factor of each row in its class's score (P,)."""
        if self.aggregation == 'linear':
            return self.row_weight
        total = self.row_weight.new_zeros(self.num_classes)
        total.index_add_(0, self.class_index, self.row_weight)
        return self.row_weight / total[self.class_index]
