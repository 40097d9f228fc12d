"""What a parity check found: one line a quantity, nothing left out silently."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tolerance:
    """How far a quantity may be from the reference.

    Attributes:
        atol: absolute.
        rtol: relative to the reference's magnitude.
        share: part of the entries that may differ (label maps: rounding at ties).
    """

    atol: float = 0.0
    rtol: float = 0.0
    share: float = 0.0


EXACT = Tolerance()


@dataclass(frozen=True)
class Line:
    """One compared, or missing, quantity."""

    name: str
    status: str
    detail: str


@dataclass
class Report:
    """Collects the lines of one golden file and checks that no entry was forgotten.

    Attributes:
        content: the golden file.
        title: its name, for the output.
    """

    content: dict[str, Any]
    title: str
    lines: list[Line] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def use(self, *paths: str) -> None:
        """Marks entries as read: inputs, weights and settings of the case.

        Args:
            paths: dotted paths into the file; everything below them is marked.
        """
        self._seen.update(paths)

    def leave(self, path: str, reason: str) -> None:
        """Lists an input that nothing built so far reads; it does not fail the file.

        Args:
            path: dotted path into the file.
            reason: why it is left.
        """
        self._seen.add(path)
        self.lines.append(Line(path, 'ok', f'not covered: {reason}'))

    def compare(self, path: str, ours: Any, theirs: Any, tolerance: Tolerance) -> None:
        """Compares one quantity and marks it as covered.

        Args:
            path: dotted path into the file.
            ours: tensor or plain value.
            theirs: the golden value.
            tolerance: bounds for numbers; plain values must be equal.
        """
        self._seen.add(path)
        if not isinstance(theirs, Tensor):
            self._add(path, ours == theirs, f'{ours!r:.60} wanted {theirs!r:.60}')
        elif tuple(ours.shape) != tuple(theirs.shape):
            self._add(path, False, f'shape {tuple(ours.shape)}, wanted {tuple(theirs.shape)}')
        elif tolerance.share or not theirs.is_floating_point():
            different = (ours.long() != theirs.long()).float().mean().item()
            self._add(
                path,
                different <= tolerance.share,
                f'{different:.2%} of the entries differ (allowed {tolerance.share:.1%})',
            )
        else:
            error = (ours.double() - theirs.double()).abs()
            allowed = tolerance.atol + tolerance.rtol * theirs.double().abs()
            largest = error.max().item() if error.numel() else 0.0
            relative = (error / theirs.double().abs().clamp_min(1e-12)).max().item()
            # Where both are infinite or NaN there is nothing to compare: that is a failure.
            self._add(
                path,
                bool(torch.isfinite(error).all()) and bool((error <= allowed).all()),
                f'abs {largest:.1e}, rel {relative:.1e} '
                f'(allowed {tolerance.atol:.0e} + {tolerance.rtol:.0e} |x|)',
            )

    def miss_unseen(self) -> None:
        """Lists every entry of the file that no check has read or compared, as missing."""
        for path, _ in leaves(self.content):
            if not any(path == seen or path.startswith(f'{seen}.') for seen in self._seen):
                self.lines.append(Line(path, 'missing', 'no check covers this quantity'))

    @property
    def passed(self) -> bool:
        """Whether every quantity was compared and lies within its tolerance."""
        return all(line.status == 'ok' for line in self.lines)

    def text(self) -> str:
        """The report as a table."""
        width = max((len(line.name) for line in self.lines), default=0)
        rows = [f'  {line.status:8}{line.name:{width}}  {line.detail}' for line in self.lines]
        failed = sum(line.status != 'ok' for line in self.lines)
        return '\n'.join(
            [self.title, *rows, f'  {len(self.lines)} quantities, {failed} not in order']
        )

    def _add(self, name: str, good: bool, detail: str) -> None:
        self.lines.append(Line(name, 'ok' if good else 'FAILED', detail))


def leaves(value: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Dotted paths and values of a nested structure; lists of plain values count as one leaf.

    Args:
        value: dicts and lists of tensors and plain values.
        path: of it.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f'{path}.{key}' if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, Tensor | dict) for item in value):
        for index, item in enumerate(value):
            yield from leaves(item, f'{path}.{index}')
    else:
        yield path, value
