"""Names of ours, of mmseg and of mmdet as a config under the scope `ovseg` finds them."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from mmseg import registry as mmseg_registry

from ovseg import registry

ROOT = Path(__file__).resolve().parents[1]
MMSEG_PARTS = ('datasets', 'engine', 'evaluation', 'models', 'visualization')


def test_every_registry_of_mmseg_has_a_child_under_our_scope():
    assert sorted(registry.__all__) == sorted(mmseg_registry.__all__)
    for name in registry.__all__:
        child, parent = getattr(registry, name), getattr(mmseg_registry, name)
        assert child.parent is parent
        assert child.scope == 'ovseg'
        assert child.name == parent.name
        assert child in parent.children.values()


@pytest.mark.parametrize('name', registry.__all__)
def test_everything_that_mmseg_registers_is_imported_by_the_first_look_up(name):
    for part in MMSEG_PARTS:
        import_module(f'mmseg.{part}')
    child, parent = getattr(registry, name), getattr(mmseg_registry, name)
    for key, registered in parent.module_dict.items():
        home = f'{registered.__module__}.'
        if home.startswith('mmseg.'):
            # mmengine imports the locations of the registry that is asked, not of its parents.
            assert any(home.startswith(f'{place}.') for place in child._locations), key


def test_bare_names_build_in_a_fresh_process_without_a_word_about_scopes():
    code = """
import ovseg
from mmengine.registry import HOOKS, METRICS, MODELS, TRANSFORMS, VISUALIZERS, init_default_scope
init_default_scope('ovseg')
built = [
    VISUALIZERS.build(dict(type='SegLocalVisualizer', name='test')),
    METRICS.build(dict(type='IoUMetric', prefix='test')),
    TRANSFORMS.build(dict(type='PackSegInputs')),
    MODELS.build(dict(type='CrossEntropyLoss', avg_non_ignore=True)),
    MODELS.build(dict(type='mmdet.L1Loss')),
    HOOKS.build(dict(type='SegVisualizationHook', draw=True)),
]
print(*(f'{type(thing).__module__.split(".")[0]}.{type(thing).__name__}' for thing in built))
"""
    done = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        'mmseg.SegLocalVisualizer',
        'mmseg.IoUMetric',
        'mmseg.PackSegInputs',
        'mmseg.CrossEntropyLoss',
        'mmdet.L1Loss',
        'mmseg.SegVisualizationHook',
    ]
    assert 'WARNING' not in done.stderr
    assert 'scope' not in done.stderr
