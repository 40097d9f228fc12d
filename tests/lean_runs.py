"""What thousands of small models and runs in one process need not do each time.

Nothing of it changes an answer; processes that tests start do without it.
"""

from __future__ import annotations

import copy
import sys
from types import SimpleNamespace

import pytest


def share_merges(patched: pytest.MonkeyPatch) -> None:
    """Tokenizers of open_clip that are told the same share their tables, and so do their copies.

    To read 49,152 merges takes a tenth of a second, to copy them two tenths: most of what a tiny
    model took to be built or copied.
    """
    if 'open_clip' not in sys.modules:
        return
    kind = sys.modules['open_clip'].SimpleTokenizer
    read, known = kind.__init__, {}

    def initialise(self, *args, **settings):
        key = repr((args, sorted(settings.items())))
        if key not in known:
            read(self, *args, **settings)
            known[key] = dict(vars(self))
        vars(self).update(known[key], cache=dict(known[key]['cache']))

    def copied(self, memo):
        twin = copy.copy(self)
        twin.cache = dict(self.cache)
        return twin

    patched.setattr(kind, '__init__', initialise)
    patched.setattr(kind, '__deepcopy__', copied, raising=False)


def leave_layout(patched: pytest.MonkeyPatch) -> None:
    """Runs write their configs without yapf's layout, which took a second or more of each run."""
    if 'mmengine' in sys.modules:
        patched.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True))


def collect_no_garbage(patched: pytest.MonkeyPatch) -> None:
    """Data sets are built without a collection of garbage, which comes by itself when it is due.

    mmengine collects in every data set: a third of a second among the objects of all tests.
    """
    if 'mmengine' in sys.modules:
        patched.setattr('mmengine.dataset.base_dataset.gc', SimpleNamespace(collect=lambda: 0))
