"""Rows of text vectors that score patch features."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import Self

from ovseg.errors import UserError
from ovseg.text.decision_rule import NO_ENERGY, DecisionRule
from ovseg.text.row_groups import Aggregation, RowGroups
from ovseg.vocabulary.rejection import Rejection


@dataclass(frozen=True, eq=False)
class Classifier:
    """P query rows in the text space, grouped into K classes.

    Attributes:
        weight: rows (P, D), float32, of unit length (folded rows may be shorter).
        class_index: class of each row (P,), int64, ascending.
        num_classes: K; a class without rows is reached by rejection only.
        logit_scale: factor of the scores before a softmax.
        row_weight: share of each row in its class (P,), for ``linear``, ``mean`` and ``lse``.
        bias: added to the scores of each row (P,).
        origin: where each row comes from, such as ``'text'``, ``'description'`` or
            ``'contrast'``; rows of one class may differ.
        aggregation: how rows become classes, see :class:`~ovseg.text.row_groups.RowGroups`.
        rejection: rule for pixels that belong to no class.
        background_index: label of rejected pixels.
        fingerprint: the text model that made the rows; ``''`` where that is not known.
        seen: (K) whether a class was in the training of a part that names masks, or None.
        gives_log_probabilities: whether the scores, times their scale, are logarithms of numbers
            that sum to 1, so that a softmax leaves them as they are.

    Raises:
        ValueError: shapes, indices or rules that contradict each other.
    """

    gives_log_probabilities: ClassVar[bool] = False

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
    seen: tuple[bool, ...] | None = None

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
        if self.rejection.contrast:
            raise UserError(
                'the rejection rule asks for contrast words, and this model takes no words beside '
                "its own: take another rule, such as 'threshold=0.3'"
            )
        if self.gives_log_probabilities and self.rejection.energy is not None:
            raise UserError(NO_ENERGY)  # now, and not at the first image
        _ = self.groups  # made now, so that contradictions are told now
        if self.rejection.rejects != (self.background_index is not None):
            raise ValueError(
                f'rejection {self.rejection.kind!r} does not fit '
                f'background_index {self.background_index}'
            )

    def to(self, device: torch.device | str) -> Self:
        """The same classifier with its tensors on ``device``."""
        if self.weight.device == torch.device(device):
            return self
        names = ('weight', 'class_index', 'row_weight', 'bias')
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def check_model(self, fingerprint: str) -> None:
        """Raise if features of the model ``fingerprint`` are not the rows' own.

        Args:
            fingerprint: of the text space that the features are in; ``''`` where that is not known.

        Raises:
            UserError: another text model made the rows, so the scores would mean nothing.
        """
        if fingerprint and self.fingerprint and fingerprint != self.fingerprint:
            raise UserError(
                f'the classifier was made by text model {self.fingerprint!r} but the features '
                f'are of {fingerprint!r}, build it again with the model in use'
            )

    def folded(self) -> Classifier:
        """One row a class with the same class scores, where the rule is linear in the rows.

        ``max``, ``max_score`` and ``lse`` are not, and stay as they are, unless no class has two
        rows: then ``max_score`` is the row's score and ``lse`` adds its weight's logarithm.
        """
        groups = self.groups
        if self.aggregation == 'max' or (self.aggregation == 'linear' and groups.rows_are_classes):
            return self
        if self.aggregation in ('max_score', 'lse'):
            if len(groups.first_rows) < len(self.weight):
                return self
            raised = self.bias + self.row_weight.log() / self.logit_scale
            ones = torch.ones_like(self.row_weight)
            return replace(self, bias=raised, row_weight=ones, aggregation='linear')
        share = groups.share
        present, position = self.class_index.unique_consecutive(return_inverse=True)
        weight = self.weight.new_zeros(len(present), self.weight.shape[1])
        weight.index_add_(0, position, self.weight * share[:, None])
        bias = self.bias.new_zeros(len(present)).index_add_(0, position, self.bias * share)
        first = groups.first_rows.tolist()
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

    def scores(self, features: Tensor) -> Tensor:
        """Class scores (B, K, h, w) of patch features (B, D, h, w)."""
        return self.groups.class_scores(self.row_scores(features))

    def rule(
        self,
        are_probabilities: bool = False,
        sum_to_one: bool = False,
        allowed: Tensor | None = None,
    ) -> DecisionRule:
        """How row scores are decided; see :class:`~ovseg.text.decision_rule.DecisionRule`."""
        self.rejection.check_fit(len(self.groups.first_rows), self.logit_scale)
        return DecisionRule(
            self.groups.of_probabilities() if are_probabilities else self.groups,
            self.logit_scale,
            self.rejection,
            self.background_index,
            are_probabilities,
            sum_to_one,
            allowed,
            has_energy=not (are_probabilities or self.gives_log_probabilities),
        )

    @cached_property
    def groups(self) -> RowGroups:
        """Which rows are which class."""
        return RowGroups(
            self.class_index,
            self.num_classes,
            self.row_weight,
            self.aggregation,
            self.logit_scale,
        )

    @cached_property
    def _has_bias(self) -> bool:
        return bool(self.bias.any())
