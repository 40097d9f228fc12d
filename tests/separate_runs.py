"""Runs in the process of the tests know nothing of each other, as in processes of their own."""

from __future__ import annotations

import sys


def forget_runs() -> None:
    """Ends what mmengine keeps of runs: loggers, visualizers, and hubs with the best score so far.

    It gives runs of one name that begin in one second of one process the same of each, so that the
    second writes into the first's folder, and saves no weights that are worse than its best.
    """
    if 'mmengine' not in sys.modules:
        return
    from mmengine.registry import DefaultScope
    from mmengine.utils import ManagerMixin

    kinds = ManagerMixin.__subclasses__()
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if kind is not DefaultScope:
            kind._instance_dict.clear()
