"""What a parity check found: one line a quantity, nothing left out silently."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
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


# Or what the reference itself allows, where that goes by its largest entry.
Allowed = Tolerance | Callable[[Tensor], Tolerance]

EXACT = Tolerance()
LABELS = Tolerance(share=0.001)


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
        title: its path, for the output.
    """

    content: dict[str, Any]
    title: str
    lines: list[Line] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    @property
    def case(self) -> Case:
        """The whole file, to be read and compared."""
        return Case(self, '', self.content)

    def use(self, path: str) -> None:
        """Marks an entry as read: an input, weights or settings of the case.

        Args:
            path: dotted path into the file; everything below it is marked.
        """
        self._seen.add(path)

    def leave(self, path: str, reason: str) -> None:
        """Lists an input that nothing built so far reads; it does not fail the file.

        Args:
            path: dotted path into the file.
            reason: why it is left.
        """
        self._seen.add(path)
        self.lines.append(Line(path, 'ok', f'not covered: {reason}'))

    def compare(self, path: str, ours: Any, theirs: Any, allowed: Allowed) -> None:
        """Compares one quantity and marks it as covered.

        Args:
            path: dotted path into the file.
            ours: tensor or plain value.
            theirs: the golden value; where ours is a tensor, also numbers.
            allowed: bounds for numbers; plain values must be equal.
        """
        self._seen.add(path)
        if isinstance(ours, Tensor) and isinstance(theirs, int | float | list):
            # An empty list says nothing of its entries' shape.
            none = isinstance(theirs, list) and not theirs
            theirs = ours[:0] if none else torch.as_tensor(theirs, dtype=ours.dtype)
        if not isinstance(theirs, Tensor):
            self._add(path, _same(ours, theirs), f'{ours!r:.60} wanted {theirs!r:.60}')
            return
        tolerance = allowed(theirs) if callable(allowed) else allowed
        if tuple(ours.shape) != tuple(theirs.shape):
            self._add(path, False, f'shape {tuple(ours.shape)}, wanted {tuple(theirs.shape)}')
        elif tolerance.share or not (tolerance.atol or theirs.is_floating_point()):
            wrong = (ours.long() != theirs.long()).float()
            different = wrong.mean().item() if wrong.numel() else 0.0
            self._add(
                path,
                different <= tolerance.share,
                f'{different:.2%} of the entries differ (allowed {tolerance.share:.1%})',
            )
        else:
            error = (ours.double() - theirs.double()).abs()
            allowed_error = tolerance.atol + tolerance.rtol * theirs.double().abs()
            largest = error.max().item() if error.numel() else 0.0
            relative = error / theirs.double().abs().clamp_min(1e-12)
            largest_relative = relative.max().item() if error.numel() else 0.0
            # Where both are infinite or NaN there is nothing to compare: that is a failure.
            self._add(
                path,
                bool(torch.isfinite(error).all()) and bool((error <= allowed_error).all()),
                f'abs {largest:.1e}, rel {largest_relative:.1e} '
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


@dataclass(frozen=True)
class Case:
    """A golden file, or a part of it: what is read counts as an input, the rest is compared.

    Attributes:
        report: takes the lines.
        path: dotted, of the part; empty for the whole file.
        content: of the part.
    """

    report: Report
    path: str
    content: Mapping[str, Any] | Sequence[Any]

    def __getitem__(self, key: str) -> Any:
        """An input of the case: everything below it counts as read."""
        self.report.use(self._path(key))
        return self.content[key]

    def get(self, key: str, default: Any = None) -> Any:
        """An input of the case, or `default` where it has none."""
        if key not in self:
            return default
        return self[key]

    def __contains__(self, key: str | int) -> bool:
        if isinstance(self.content, list | tuple):
            return key in range(len(self.content))
        return key in self.content

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)

    @property
    def file(self) -> Path:
        """The golden file."""
        return Path(self.report.title)

    def wanted(self, key: str | int) -> Any:
        """A golden value that is still to be compared."""
        return self.content[key]

    def inner(self, key: str) -> Case:
        """A part of the case."""
        return Case(self.report, self._path(key), self.content[key])

    def cases(self, key: str) -> list[Case]:
        """The parts of a list or dict, in order."""
        parts = self.content[key]
        if not parts:  # nothing of it is left to compare
            self.report.use(self._path(key))
        names = parts if isinstance(parts, dict) else range(len(parts))
        return [Case(self.report, f'{self._path(key)}.{name}', parts[name]) for name in names]

    def use(self, *keys: str) -> None:
        """Marks inputs as read that nothing needs to be computed of.

        Args:
            keys: of the case; those that it lacks are passed over.
        """
        for key in keys:
            if key in self:
                self.report.use(self._path(key))

    def leave(self, key: str, reason: str) -> None:
        """See :meth:`Report.leave`."""
        self.report.leave(self._path(key), reason)

    def compare(
        self, allowed: Allowed, ours: Mapping[str, Any] | None = None, **named: Any
    ) -> None:
        """Compares quantities with the entries of these names.

        What the case does not state is passed over: no option has all quantities. What it states
        and nothing compares is missing, so nothing is lost by that.

        Args:
            allowed: bounds of them all.
            ours: by key, where keys are no names; by index of a list.
            named: by key.
        """
        for key, value in {**(ours or {}), **named}.items():
            if key in self:
                self.report.compare(self._path(key), value, self.content[key], allowed)

    def compare_as(self, key: str | int, ours: Any, theirs: Any, allowed: Allowed = EXACT) -> None:
        """Compares a quantity that the file does not hold in this form, under a name of it."""
        self.report.compare(self._path(key), ours, theirs, allowed)

    def compare_weights(self, key: str, own: Mapping[str, Tensor], whole: bool = False) -> None:
        """Compares a state dict: what a loader took in is exactly the file's.

        Args:
            key: of the file's state dict.
            own: ours, by the same names.
            whole: whether ours must have no other names.
        """
        theirs = self.content[key]
        for name, value in theirs.items():
            self.report.compare(
                f'{self._path(key)}.{name}', own.get(name, torch.empty(0)), value, EXACT
            )
        if whole:
            self.report.compare(self._path(key), sorted(set(own) - set(theirs)), [], EXACT)

    def _path(self, key: str | int) -> str:
        return f'{self.path}.{key}' if self.path else str(key)


def leaves(value: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Dotted paths and values of a nested structure; lists of plain values count as one leaf.

    Args:
        value: dicts and lists of tensors and plain values.
        path: of it.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f'{path}.{key}' if path else str(key))
    elif isinstance(value, list | tuple) and any(
        isinstance(item, Tensor | dict | list | tuple) for item in value
    ):
        for index, item in enumerate(value):
            yield from leaves(item, f'{path}.{index}')
    else:
        yield path, value


def _same(ours: Any, theirs: Any) -> bool:
    """Whether plain values are equal; a tuple is as good as a list."""
    if isinstance(theirs, tuple | list) and isinstance(ours, tuple | list):
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))
    return ours == theirs
