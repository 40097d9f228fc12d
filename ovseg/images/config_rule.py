"""Which resize rule a config has: read in one place, given to its data sets from there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any

from mmengine.config import Config

from ovseg.errors import UserError
from ovseg.images.pipeline import is_resize, pipeline_with_resize
from ovseg.images.resize import ResizeRule

# What a config may call its rule: the name of today and that of before.
_NAMES = ('resize', 'inference')
_TESTED = 'test_dataloader.dataset'


def resize_rule_of(config: Config) -> ResizeRule:
    """The rule by which images are resized, whatever door they come in by.

    It stands in ``resize``. Configs of before have ``inference``, or the rule of their test data
    set (its ``resize``, or the first resize of its pipeline) or of ``test_pipeline`` alone; all of
    them are read, and where two say something they must say the same.

    Args:
        config: complete.

    Raises:
        UserError: two different rules, or one that cannot be read.

    Example:
        >>> resize_rule_of(Config({'resize': {'scale': (2048, 512)}})).scale
        (2048, 512)
    """
    found = [(name, ResizeRule.from_settings(rule, name)) for name, rule in _rules(config)]
    for name, rule in found[1:]:
        if rule != found[0][1]:
            first = found[0][0]
            raise UserError(
                f'The config {config.filename} has two resize rules, {first} = '
                f'{_words(found[0][1])} and {name} = {_words(rule)}: write the rule as resize = '
                'dict(scale=...), and test_dataloader = dict(dataset=dict(resize=resize)).'
            )
    return found[0][1] if found else ResizeRule(None)


def give_resize_rule(config: Config) -> None:
    """Gives the config's rule to test data sets without one, so that tools follow it, too.

    Args:
        config: changed in place.

    Raises:
        UserError: as :func:`resize_rule_of`, if the config names its rule.
    """
    if not any(name in config for name in _NAMES):
        return  # the pipeline's own business, whatever it does
    resize_rule_of(config)
    settings = next((config[name] for name in _NAMES if config.get(name) is not None), None)
    for dataset in _datasets((config.get('test_dataloader') or {}).get('dataset')):
        if not dataset.get('pipeline'):
            raise UserError(
                f'The test data set {dataset.get("type")} of config {config.filename} has no '
                "pipeline, so no picture would be read: write pipeline=[dict(type='LoadImage"
                "FromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]."
            )
        if dataset.get('resize') is None and not any(map(is_resize, dataset.get('pipeline') or ())):
            dataset['pipeline'] = pipeline_with_resize(dataset['pipeline'], settings)


def follow_overrides(config: Config, keys: Iterable[str]) -> None:
    """Spreads a rule that was changed from outside to the other places of the config.

    Args:
        config: after the change, changed in place.
        keys: what was changed, such as ``resize.scale`` or ``test_dataloader.dataset.resize``.
    """
    tested = config.get('test_dataloader') or {}
    if any(key.split('.')[0] == 'resize' for key in keys):
        for loader in (tested, config.get('val_dataloader') or {}):
            for dataset in _datasets(loader.get('dataset')):
                if 'resize' in dataset:
                    dataset['resize'] = config.resize
    elif 'resize' in config and any(f'{key}.'.startswith(f'{_TESTED}.resize.') for key in keys):
        config.resize = tested['dataset']['resize']


def _rules(config: Config) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """All rules of a config with the names of their keys, the one that decides first."""
    for name in _NAMES:
        if name in config:
            yield name, config[name]
    for dataset in _datasets((config.get('test_dataloader') or {}).get('dataset')):
        if dataset.get('resize') is not None:
            yield f'{_TESTED}.resize', dataset['resize']
        else:
            for step in filter(is_resize, dataset.get('pipeline') or ()):
                yield f'{_TESTED}.pipeline', step
                break
    for step in filter(is_resize, config.get('test_pipeline') or ()):
        yield 'test_pipeline', step
        break


def _datasets(dataset: MutableMapping[str, Any] | None) -> Iterator[MutableMapping[str, Any]]:
    """The data sets inside of wrappers such as ``ConcatDataset``."""
    if not dataset:
        return
    inner = [*(dataset.get('datasets') or ()), *filter(None, [dataset.get('dataset')])]
    if not inner:
        yield dataset
    for one in inner:
        yield from _datasets(one)


def _words(rule: ResizeRule) -> str:
    if rule.scale is None:
        return 'None'
    usual = {'keep_ratio': True, 'antialias': False}
    words = [f'{key}={value!r}' for key, value in rule.settings.items() if usual.get(key) != value]
    return f'dict({", ".join(words)})'
