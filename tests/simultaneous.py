"""Threads that do the same thing at the same time, and change places as often as they can."""

from __future__ import annotations

import sys
import threading


def in_threads(work, count=8):
    """Results of ``work(number)``, all threads started at once; an error of one is an error."""
    results, errors, start = [None] * count, [], threading.Barrier(count)

    def run(number):
        start.wait()
        try:
            results[number] = work(number)
        except BaseException as error:
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(240)
    finally:
        sys.setswitchinterval(interval)
    assert not errors, errors
    return results
