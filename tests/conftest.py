"""Settings for all tests: few threads, GPU tests only where there is one, no user caches."""

from __future__ import annotations

import gc
import os

import pytest
import torch
from lean_runs import collect_no_garbage, leave_layout, share_merges
from separate_runs import forget_runs

# Before mmseg, whichever test file is collected first: mmseg's point heads need ovseg's shims.
import ovseg  # noqa: F401

# Tests share two cores; more threads only get in each other's way.
torch.set_num_threads(1)
os.environ.setdefault('OMP_NUM_THREADS', '1')


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if 'gpu' in item.keywords:
            item.add_marker(pytest.mark.skip(reason='needs a CUDA device'))


def pytest_collection_finish():
    """What all modules and tests are made of stays: no garbage collection goes through it again.

    And they are rarer: most of what a model is made of is freed without one.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


@pytest.fixture(scope='session', autouse=True)
def _one_precision():
    """``precision='auto'`` is float32 in all tests and the processes that they start.

    Labels are compared, whatever the machine is fast at.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv('OVSEG_PRECISION', 'float32')
        yield


@pytest.fixture(autouse=True)
def _separate_runs():
    """Runs of one test know nothing of another's."""
    forget_runs()


@pytest.fixture(scope='session', autouse=True)
def _lean():
    with pytest.MonkeyPatch.context() as patched:
        share_merges(patched)
        leave_layout(patched)
        collect_no_garbage(patched)
        yield


@pytest.fixture(scope='session', autouse=True)
def _private_cache(tmp_path_factory):
    """Text embeddings of tests never touch the user's cache."""
    folder = tmp_path_factory.mktemp('ovseg-cache')
    previous = os.environ.get('OVSEG_CACHE')
    os.environ['OVSEG_CACHE'] = str(folder)
    yield folder
    if previous is None:
        del os.environ['OVSEG_CACHE']
    else:
        os.environ['OVSEG_CACHE'] = previous
