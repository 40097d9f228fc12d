"""Schedules of the learning rate that do not fit the length of a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from ovseg.errors import UserError


def check_schedule(config: Config) -> list[str]:
    """Stops at a schedule that cannot be; what is only unusual is returned as sentences.

    Args:
        config: with ``train_cfg``; ``param_scheduler`` counts iterations or epochs.

    Raises:
        UserError: a training without a step, or a schedule that ends before it begins.
    """
    train = config.get('train_cfg') or {}
    lengths = {False: train.get('max_iters'), True: train.get('max_epochs')}
    for length, key in ((lengths[False], 'max_iters'), (lengths[True], 'max_epochs')):
        if isinstance(length, int) and length < 1:
            raise UserError(f'train_cfg.{key} is {length}, so there is nothing to train')
    schedulers = config.get('param_scheduler') or []
    if isinstance(schedulers, Mapping):
        schedulers = [schedulers] if 'type' in schedulers else []  # else one list an optimizer
    notes = _validation_note(config, lengths)
    for index, scheduler in enumerate(schedulers):
        note = _check(f'param_scheduler.{index}', scheduler, lengths)
        notes.extend([note] if note else [])
    return notes


def _validation_note(config: Config, lengths: Mapping[bool, Any]) -> list[str]:
    train = config.get('train_cfg') or {}
    by_epoch = bool(lengths[True])
    length, interval = lengths[by_epoch], train.get('val_interval', 1)
    if config.get('val_cfg') is None or not isinstance(length, int) or interval <= length:
        return []
    unit = 'epochs' if by_epoch else 'iterations'
    return [
        f'train_cfg.val_interval is {interval} and the training ends after {length} {unit}, so it '
        f'is not validated; train_cfg.val_interval={length} validates its end'
    ]


def _check(key: str, scheduler: Any, lengths: Mapping[bool, Any]) -> str | None:
    if not isinstance(scheduler, Mapping):
        return None
    by_epoch = bool(scheduler.get('by_epoch', True))
    begin, end, length = scheduler.get('begin', 0), scheduler.get('end'), lengths[by_epoch]
    unit = 'epochs' if by_epoch else 'iterations'
    if end is not None and end <= begin:
        raise UserError(
            f'{key} ({scheduler.get("type")}) begins after {begin} {unit} and ends after {end}; '
            f'set {key}.begin to less, or leave a warm-up out of a short training'
        )
    if length is None:
        return None
    if begin >= length:
        return f'{key} ({scheduler.get("type")}) begins after {begin} {unit}: not in this training'
    if end is not None and end > length + 1:  # published schedules may end one step later
        return (
            f'{key} ({scheduler.get("type")}) is made for {end} {unit}, the training ends after '
            f'{length}; {key}.end={length} fits it'
        )
    return None
