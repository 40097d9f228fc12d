"""How far a long loop is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from ovseg.consoles import is_quiet

_Item = TypeVar('_Item')
# Seconds between two lines of a log: a day is 1440 lines, a short run has none.
_EVERY = 60.0


def with_progress(
    items: Iterable[_Item],
    total: int,
    unit: str,
    title: str = '',
    every: float = _EVERY,
    note: Callable[[], str] = str,
) -> Iterator[_Item]:
    """The items; meanwhile the standard error tells how many were done.

    A bar is drawn over itself, which a file or a pipe would hold as one endless line; there, lines
    such as ``Cityscapes val: 120 of 500 images, 60 s, 2.0 images/s, 190 s left`` are written.

    Args:
        items: what is worked on.
        total: how many there are.
        unit: one of them: ``'image'``.
        title: of the work; '' for none.
        every: seconds from one line to the next.
        note: asked each time for what else is to be told, '' for nothing.
    """
    stream = sys.stderr
    if stream is None or not total or is_quiet():
        yield from items
        return
    if stream.isatty():
        from tqdm import tqdm

        bar = tqdm(items, desc=title or None, total=total, unit=unit)
        for item in bar:
            yield item
            bar.set_postfix_str(note(), refresh=False)
        return
    begun = said = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - said >= every and done < total:
            said = now
            start = f'{title}: ' if title else ''
            rate = done / max(now - begun, 1e-9)
            told = [
                f'{start}{done} of {total} {unit}s, {now - begun:.0f} s',
                f'{rate:.3g} {unit}s/s, {(total - done) / rate:.0f} s left',
                note(),
            ]
            print(', '.join(part for part in told if part), file=stream)
