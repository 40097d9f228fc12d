"""Class probabilities of a map by template experts, a strip and an expert at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from typing_extensions import override

from ovseg.scores.row_map import ALL, Channels, DerivedMap, RowMap
from ovseg.text.decision_rule import DecisionRule
from ovseg.text.experts import fuse_experts
from ovseg.text.row_groups import RowGroups


@dataclass(frozen=True, eq=False)
class Expert:
    """Classes, and the whole map that their template gives.

    Attributes:
        labels: of the classes that claim pixels by it.
        source: maps of row scores.
        rule: makes class probabilities of them.
    """

    labels: tuple[int, ...]
    source: RowMap
    rule: DecisionRule

    def probabilities(self, start: int, stop: int) -> Tensor:
        """(K, stop - start, W) of some rows."""
        return self.rule.probabilities(self.source.rows(start, stop)[None])[0]


@dataclass(frozen=True, eq=False)
class ExpertMap(DerivedMap):
    """Probabilities of the classes that have rows, fused from experts.

    However many experts there are, a strip holds the map of one, the default's and the result.

    Attributes:
        source: maps of row scores of all templates together.
        rule: of these.
        experts: each class in one of them at most.
    """

    source: RowMap
    rule: DecisionRule
    experts: Sequence[Expert]

    @property
    @override
    def channels(self) -> int:
        return len(self._present)

    @property
    @override
    def like(self) -> Tensor:
        return self.source.like.new_empty(0, dtype=torch.float32)

    @property
    @override
    def values_a_row(self) -> float:
        read = max(each.values_a_row for each in (self.source, *(e.source for e in self.experts)))
        return read + 3 * self.rule.groups.num_classes * self.size[1]

    @property
    def _present(self) -> Tensor:
        return self.rule.groups.class_index.unique()

    @property
    def fused_rule(self) -> DecisionRule:
        """Decides these probabilities, under the rejection of the rows' own rule."""
        present = self._present
        ones = torch.ones(len(present), device=present.device)
        groups = RowGroups(present, self.rule.groups.num_classes, ones, 'linear')
        return replace(self.rule, groups=groups, are_probabilities=True)

    @override
    def rows(self, start: int, stop: int, channels: Channels = ALL) -> Tensor:
        def each() -> Iterator[tuple[tuple[int, ...], Tensor]]:
            for expert in self.experts:
                yield expert.labels, expert.probabilities(start, stop)

        default = Expert((), self.source, self.rule).probabilities(start, stop)
        return fuse_experts(default, each())[self._present][channels]
