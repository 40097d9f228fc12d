"""Trains from a config in this process, as tools/train.py would."""

from __future__ import annotations

from mmengine.registry import DefaultScope

from ovseg.engine.runner import Runner


def train(config, name, **changes):
    """The Runner after its training; ``changes`` replace settings of the config."""
    config = config.copy()
    config.update(experiment_name=name, **changes)
    with DefaultScope.overwrite_default_scope('ovseg'):
        runner = Runner.from_cfg(config)
        runner.train()
    return runner
