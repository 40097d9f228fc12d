"""What stands in a config and which settings each part of it takes, by the class that reads it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

import ovseg.registry as registries
from ovseg.scores.inference_settings import InferenceSettings
from ovseg.segmentors.base import Segmentor
from ovseg.settings import parameters_of
from ovseg.text import build_classifier

# What mmengine and this package read at the top of a config, beside the Runner's own arguments.
TOP_KEYS = frozenset(
    {
        *('resize', 'inference', 'test_pipeline', 'tta_model', 'tta_pipeline'),
        *('tta_ratios', 'tta_flip', 'runner_type', 'compile', 'sync_bn', 'custom_imports'),
        *('find_unused_parameters', 'activation_checkpointing', 'efficient_conv_bn_eval'),
        *('model_wrapper_cfg', 'auto_scale_lr', 'default_hooks', 'on', 'on_choices'),
    }
)
# Read by registries, hooks and config files, whatever the class.
ALWAYS = frozenset({'type', '_scope_', '_delete_', 'init_cfg', 'priority'})
_LOADER_KEYS = (
    *('dataset', 'sampler', 'batch_sampler', 'collate_fn', 'worker_init_fn', 'batch_size'),
    *('max_bad_samples', 'num_batch_per_epoch'),
)
_LOOPS = {
    'train_cfg': ('EpochBasedTrainLoop', 'IterBasedTrainLoop'),
    'val_cfg': ('ValLoop',),
    'test_cfg': ('TestLoop',),
}
# Of a text section, beside the arguments of `build_classifier`.
_BESIDE_WORDS = frozenset({'cache_dir', 'embeddings', 'bank', 'rule'})
_ENVIRONMENT = ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit')
_PROCESSES = ('mp_start_method', 'opencv_num_threads')
# Of mmengine's DefaultOptimWrapperConstructor, as its page lists them.
_BY_PARAMETER = (
    *('custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'flat_decay_mult'),
    *('dwconv_decay_mult', 'dcn_offset_lr_mult', 'bypass_duplicate', 'num_layers', 'decay_rate'),
    'layer_decay_rate',
)


@dataclass(frozen=True)
class Part:
    """A dict of a config as whoever reads it sees it.

    Attributes:
        name: of the class, or the key.
        settings: those it takes, with their annotations; a mapping of names.
        is_open: whether it takes others, too, as far as can be seen.
    """

    name: str
    settings: Mapping[str, Any]
    is_open: bool


def part_at(path: tuple[str, ...], node: Mapping[str, Any], above: Any = None) -> Part:
    """What reads the dict at a place of a config.

    Args:
        path: keys down to the dict; empty for the config itself.
        node: the dict.
        above: class of the dict that holds it, if known.
    """
    kind = class_of(node.get('type'))
    if kind is not None and path:
        return _of_class(kind, extra=ALWAYS | _wrapped_settings(path))
    return _untyped(path, node, above)


def _of_class(kind: Any, extra: frozenset[str] = ALWAYS, without: tuple[str, ...] = ()) -> Part:
    settings, is_open = parameters_of(kind)
    settings = {name: kept for name, kept in settings.items() if name not in without}
    fill = dict.fromkeys(extra, inspect.Parameter.empty)
    return Part(getattr(kind, '__name__', str(kind)), {**fill, **settings}, is_open)


def _named(name: str, *settings: str, is_open: bool = False) -> Part:
    return Part(name, dict.fromkeys(settings, inspect.Parameter.empty), is_open)


def _wrapped_settings(path: tuple[str, ...]) -> frozenset[str]:
    """What mmengine takes out of a dict before its class sees it."""
    if path[-1] == 'optim_wrapper':
        return frozenset({'optimizer', 'constructor', 'paramwise_cfg'})
    if path[0] == 'param_scheduler':
        return frozenset({'convert_to_iter_based', 'by_epoch', 'begin', 'end'})
    return frozenset()


def _untyped(path: tuple[str, ...], node: Mapping[str, Any], above: Any) -> Part:
    if not path:
        part = _of_class(Runner, frozenset({*TOP_KEYS, *node}), ('self', 'cfg'))
        return Part('the config', part.settings, False)
    name = '.'.join(path)
    if len(path) == 1 and name.endswith('_dataloader'):
        loader = _of_class(DataLoader, frozenset(_LOADER_KEYS), ('self',))
        return Part('DataLoader', loader.settings, False)
    if len(path) == 1 and name in _LOOPS:
        kinds = [registries.LOOPS.get(loop) for loop in _LOOPS[name]]
        parts = [_of_class(kind, ALWAYS, ('runner', 'dataloader', 'evaluator')) for kind in kinds]
        settings = {key: kept for part in parts for key, kept in part.settings.items()}
        return Part(name, {**settings, 'by_epoch': bool, 'fp16': bool}, False)
    if name == 'optim_wrapper':
        return _of_class(registries.OPTIM_WRAPPERS.get('OptimWrapper'), _wrapped_settings(path))
    if name == 'optim_wrapper.paramwise_cfg':
        known = _named(name, *_BY_PARAMETER)
        ours = above in (None, DefaultOptimWrapperConstructor)
        return Part(name, {**known.settings, **dict.fromkeys(node, '')}, not ours)
    if name == 'env_cfg':
        return _named(name, *_ENVIRONMENT)
    if name == 'env_cfg.mp_cfg':
        return _named(name, *_PROCESSES)
    if inspect.isclass(above) and issubclass(above, Segmentor):
        if path[-1] == 'test_cfg':
            return _of_class(InferenceSettings, frozenset())
        if path[-1] == 'text':
            words = _of_class(build_classifier, _BESIDE_WORDS)
            fixed = ('vocabulary', 'encoder')
            settings = {key: kept for key, kept in words.settings.items() if key not in fixed}
            return Part(name, settings, False)
    return _named(name, *node, is_open=True)


def types_of(registry: Registry | None) -> set[str]:
    """The names that a config may use without a scope: the registry's own and its parents'.

    Args:
        registry: one of ``ovseg.registry``.
    """
    names: set[str] = set()
    while registry is not None:
        names |= set(registry.module_dict)
        registry = registry.parent
    return names


def types_of_kind(registry_name: str) -> set[str]:
    """The names of all types that a registry of this name knows.

    Args:
        registry_name: as messages of mmengine have it, such as ``ovseg::model``.
    """
    wanted = registry_name.rpartition('::')[2]
    found = [getattr(registries, attribute) for attribute in registries.__all__]
    return set().union(*(types_of(registry) for registry in found if registry.name == wanted))


def class_of(kind: Any) -> Any:
    """What a ``type`` of a config names, None if it is not registered.

    Args:
        kind: a name, with or without a scope, or the class itself.
    """
    if not isinstance(kind, str):
        return kind
    for name in dict.fromkeys((kind, kind.rpartition('.')[2])):
        for attribute in registries.__all__:
            found = getattr(registries, attribute).get(name)
            if found is not None:
                return found
    return None


def settings_of(kind: Any) -> list[str]:
    """The settings of a type, those that it hands on to the classes it extends among them.

    Args:
        kind: as in :func:`class_of`.
    """
    return list(parameters_of(class_of(kind))[0])


def name_of_type(part: Mapping[str, Any]) -> str:
    """The class that a part names, without scope or module; empty if it names none.

    Args:
        part: a dict of a config.
    """
    named = part.get('type')
    name = named if isinstance(named, str) else getattr(named, '__name__', '')
    return name.rpartition('.')[2]


def parts_of_type(config: Any, kind: str) -> Iterator[Mapping[str, Any]]:
    """All dicts of a config whose ``type`` is this class or extends it.

    Args:
        config: or a part of it.
        kind: name of the class.
    """
    for part in parts_of(config):
        found = class_of(part['type']) if name_of_type(part) else None
        names = [one.__name__ for one in found.__mro__] if inspect.isclass(found) else []
        if kind in (*names, name_of_type(part)):
            yield part


def parts_of(config: Any) -> Iterator[Mapping[str, Any]]:
    """All dicts of a config, outer ones first.

    Args:
        config: or a part of it.
    """
    if isinstance(config, (Mapping, ConfigDict, Config)):
        yield config
        values = list(config.values())
    elif isinstance(config, (list, tuple)):
        values = list(config)
    else:
        return
    for value in values:
        yield from parts_of(value)
