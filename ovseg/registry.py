"""ovseg's registries: children of mmseg's, under the scope ``ovseg``.

Every registry of mmseg has a child here. With ``default_scope = 'ovseg'`` a config then finds our
names and mmseg's alike without a prefix, and mmdet's as ``mmdet.Name``. ``locations`` are imported
at a registry's first look-up, so importing ovseg itself stays light.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from mmengine.registry import DefaultScope, Registry
from mmseg import registry as _mmseg

from ovseg.compat import plain_yaml

# Whoever builds from a config comes by here.
plain_yaml.install()

_LOCATIONS = {
    'MODELS': [
        'ovseg.encoders',
        'ovseg.segmentors',
        'ovseg.guides',
        'ovseg.training.heads',
        'ovseg.refiners',
        'ovseg.text',
        'ovseg.training',
        'ovseg.regions',
        'ovseg.scenes',
        'mmseg.models',
    ],
    'DATASETS': ['ovseg.datasets.registered', 'ovseg.scenes', 'mmseg.datasets'],
    'TRANSFORMS': [
        'ovseg.images.pipeline',
        'ovseg.images.loader',
        'ovseg.datasets.registered',
        'ovseg.scenes',
        'mmseg.datasets',
    ],
    'METRICS': ['ovseg.evaluation', 'mmseg.evaluation'],
    'HOOKS': ['ovseg.engine', 'mmseg.engine'],
    'LOOPS': ['ovseg.engine'],
    'VISUALIZERS': ['mmseg.visualization'],
    'OPTIMIZERS': ['mmseg.engine'],
    'OPTIM_WRAPPER_CONSTRUCTORS': ['ovseg.engine', 'mmseg.engine'],
    'PARAM_SCHEDULERS': ['ovseg.engine', 'mmseg.engine'],
    'TASK_UTILS': ['mmseg.models', 'mmseg.structures'],
}


_Given = ParamSpec('_Given')
_Made = TypeVar('_Made')


def _child(name: str) -> Registry:
    parent = getattr(_mmseg, name)
    child = Registry(parent.name, parent=parent, scope='ovseg', locations=_LOCATIONS.get(name, []))
    _answer_for(parent, child)
    return child


def _answer_for(parent: Registry, child: Registry) -> None:
    """Lets mmseg's tools, which look names up in mmseg's scope, find ours after their own."""
    own = parent.get

    def get(key: str) -> Any:
        found = own(key)
        if found is None and isinstance(key, str) and '.' not in key:
            child.import_from_location()
            found = child.module_dict.get(key)
        return found

    parent.get = get


HOOKS = _child('HOOKS')
DATASETS = _child('DATASETS')
DATA_SAMPLERS = _child('DATA_SAMPLERS')
TRANSFORMS = _child('TRANSFORMS')
MODELS = _child('MODELS')
WEIGHT_INITIALIZERS = _child('WEIGHT_INITIALIZERS')
OPTIMIZERS = _child('OPTIMIZERS')
OPTIM_WRAPPER_CONSTRUCTORS = _child('OPTIM_WRAPPER_CONSTRUCTORS')
TASK_UTILS = _child('TASK_UTILS')
PARAM_SCHEDULERS = _child('PARAM_SCHEDULERS')
METRICS = _child('METRICS')
MODEL_WRAPPERS = _child('MODEL_WRAPPERS')
VISBACKENDS = _child('VISBACKENDS')
VISUALIZERS = _child('VISUALIZERS')
RUNNERS = _child('RUNNERS')
RUNNER_CONSTRUCTORS = _child('RUNNER_CONSTRUCTORS')
LOOPS = _child('LOOPS')
EVALUATOR = _child('EVALUATOR')
LOG_PROCESSORS = _child('LOG_PROCESSORS')
OPTIM_WRAPPERS = _child('OPTIM_WRAPPERS')
INFERENCERS = _child('INFERENCERS')


def in_our_scope(function: Callable[_Given, _Made]) -> Callable[_Given, _Made]:
    """A function in which names of ours and of mmseg's are found, also where nobody chose a scope.

    Data sets take steps by name; so they can be built by a plain call in Python.

    Args:
        function: builds things by their names; a scope that is chosen already stays.
    """

    @wraps(function)
    def build(*args: _Given.args, **kwargs: _Given.kwargs) -> _Made:
        chosen = DefaultScope.get_current_instance()
        scope = None if chosen is not None else 'ovseg'
        with DefaultScope.overwrite_default_scope(scope):
            return function(*args, **kwargs)

    return build


def build_part(config: Mapping[str, Any]) -> Any:
    """Builds a part by its name in our scope, whatever the current default scope is.

    Args:
        config: with ``type``.
    """
    return MODELS.build({'_scope_': 'ovseg', **config})


__all__ = [
    'HOOKS',
    'DATASETS',
    'DATA_SAMPLERS',
    'TRANSFORMS',
    'MODELS',
    'WEIGHT_INITIALIZERS',
    'OPTIMIZERS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'TASK_UTILS',
    'PARAM_SCHEDULERS',
    'METRICS',
    'MODEL_WRAPPERS',
    'VISBACKENDS',
    'VISUALIZERS',
    'RUNNERS',
    'RUNNER_CONSTRUCTORS',
    'LOOPS',
    'EVALUATOR',
    'LOG_PROCESSORS',
    'OPTIM_WRAPPERS',
    'INFERENCERS',
]
