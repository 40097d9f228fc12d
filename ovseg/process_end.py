"""Ending the process: one of several leaves their group first."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import NoReturn

from ovseg.errors import EXIT_OK


def leave(code: int) -> NoReturn:
    """Ends the process; one of several leaves their group and skips the interpreter's finalization.

    DistributedDataParallel keeps references to the group, so the threads of gloo outlive it. If one
    of them frees a tensor while the interpreter is being finalized, it cannot take the lock that it
    needs and the process aborts ("terminate called without an active exception"), after all work
    has been done. multiprocessing ends the processes it forks in the same way.

    Args:
        code: the exit code.
    """
    group = sys.modules.get('torch.distributed')  # a process without torch is in no group
    if group is None or not (group.is_available() and group.is_initialized()):
        sys.exit(code)
    if code == EXIT_OK:
        # After an error the others may be waiting in the group, and leaving it would wait for them.
        group.destroy_process_group()
    threading._shutdown()  # type: ignore[attr-defined]  # CPython's own: typeshed leaves it out
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
