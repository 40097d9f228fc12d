"""Checkpoints one after another: the next one is whole before the last one goes."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import CheckpointHook as MMCheckpointHook
from mmengine.hooks import EMAHook
from mmengine.runner import Runner

from ovseg.engine.distributed import any_process, largest
from ovseg.engine.finite import non_finite_state, what_is_kept
from ovseg.engine.random_state import RandomStateHook
from ovseg.engine.resuming import RECORD
from ovseg.engine.stopping import TrainingStopped
from ovseg.errors import UserError
from ovseg.files import written_whole
from ovseg.registry import HOOKS

_WITHIN_EPOCH = re.compile(r'epoch_\d+_iter_\d+\.pth')


class _RemovesLater:
    """A file backend of mmengine's that removes nothing until told, and only in one folder."""

    def __init__(self, backend: Any, folder: str) -> None:
        self._backend = backend
        self._folder = folder
        self._waiting: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def isfile(self, path: str) -> bool:
        """Whether it is a file that may be removed."""
        return self._is_ours(path) and self._backend.isfile(path)

    def isdir(self, path: str) -> bool:
        """Whether it is a folder that may be removed."""
        return self._is_ours(path) and self._backend.isdir(path)

    def remove(self, path: str) -> None:
        """Remembers the file."""
        self._waiting.append(str(path))

    rmtree = remove

    def remove_now(self, keep: set[str]) -> None:
        """Removes what waits, except files whose names are in ``keep``.

        Args:
            keep: names without folders.
        """
        waiting, self._waiting = self._waiting, []
        for path in waiting:
            if os.path.basename(path) not in keep and self.isfile(path):
                self._backend.remove(path)

    def _is_ours(self, path: str) -> bool:
        if '://' in str(path):
            return os.path.dirname(str(path)) == str(self._folder).rstrip('/')
        folder = os.path.dirname(os.path.abspath(path))
        return os.path.realpath(folder) == os.path.realpath(self._folder)


@HOOKS.register_module()
class CheckpointHook(MMCheckpointHook):
    """mmengine's hook with its settings, in another order and with a look at what is saved.

    A checkpoint is saved, then recorded in ``last_checkpoint``, then older ones are removed, best
    ones too: whenever the training is killed, an intact one is there. A state with NaN or infinite
    values is not saved. A signal of a scheduler saves once more and ends the training. Only files
    in the checkpoints' own folder are removed, whatever a resumed checkpoint remembers of another
    folder. Every process's random state is saved.

    Args:
        settings: as in mmengine.
    """

    file_backend: Any
    best_ckpt_path: str | None

    def before_train(self, runner: Runner) -> None:
        """Finds the folder, and takes what a resumed checkpoint remembers into this folder."""
        super().before_train(runner)
        self.file_backend = _RemovesLater(self.file_backend, self.out_dir)
        if not self.save_best:
            return
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = self._in_this_folder(self.best_ckpt_path)
        else:
            for name, path in self.best_ckpt_path_dict.items():
                self.best_ckpt_path_dict[name] = self._in_this_folder(path)

    def _in_this_folder(self, path: str | None) -> str | None:
        """The file of that name in the folder of checkpoints, None if there is none."""
        if path is None:
            return None
        own = self.file_backend.join_path(self.out_dir, os.path.basename(path))
        return own if self.file_backend.isfile(own) else None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Looks at what will be saved.

        Raises:
            UserError: NaN or infinite values.
        """
        found = non_finite_state(checkpoint)
        if found is not None:
            raise UserError(
                f"the training's state holds NaN or infinite values in '{found}', so it is not "
                f'saved and the training ends; {what_is_kept(runner)}; train with a lower learning '
                'rate, with --resume if there is a checkpoint'
            )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Saves when it is time, or when a signal asked the training to stop, which ends it.

        Raises:
            TrainingStopped: by a signal, in any of the processes.
        """
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        signals = getattr(runner, 'stop_signals', None)
        number = largest(signals.received) if signals else 0
        if not number:
            return
        step = runner.iter + 1
        if self.by_epoch:
            self._save_within_epoch(runner, step)
        elif os.path.basename(self.last_ckpt or '') != self.filename_tmpl.format(step):
            self._save_checkpoint(runner)
        self._stop(runner, number)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Saves and stops in the middle of a validation, too, which may be long.

        Several processes stop after it, at the next iteration. So do weights that a hook averages:
        it has exchanged them for the validation.

        Raises:
            TrainingStopped: by a signal.
        """
        signals = getattr(runner, 'stop_signals', None)
        if not signals or not signals.received or get_world_size() > 1:
            return
        if any(isinstance(hook, EMAHook) for hook in runner.hooks):
            return
        step = runner.epoch if self.by_epoch else runner.iter
        self._save_checkpoint_with_step(
            runner, step, meta={'epoch': runner.epoch, 'iter': runner.iter}
        )
        self._stop(runner, signals.received)

    def _save_within_epoch(self, runner: Runner, step: int) -> None:
        name = f'epoch_{runner.epoch}_iter_{step}.pth'
        self._save_and_record(runner, name, {'epoch': runner.epoch, 'iter': step})

    def _stop(self, runner: Runner, number: int) -> None:
        runner.logger.warning(
            f'{signal.Signals(number).name} was received: the training is saved in '
            f'{self.last_ckpt} and ends; go on with --resume.'
        )
        raise TrainingStopped(number)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        outdated = []
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            kept = [*self.keep_ckpt_ids, step]
            outdated = kept[: -self.max_keep_ckpts]
            # Saved with those that go only afterwards: a resumed training removes them if this
            # one was killed in between.
            runner.message_hub.update_info('keep_ckpt_ids', kept)
            self.keep_ckpt_ids.append(step)
        name = self.filename_tmpl.format(step)
        self._save_and_record(runner, name, meta)
        if self.max_keep_ckpts > 0:
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        if not is_main_process():
            return
        for old in [self.filename_tmpl.format(old) for old in outdated] + self._within_epochs():
            path = self.file_backend.join_path(self.out_dir, old)
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)
        self.file_backend.remove_now(keep={name} | self._best_names())

    def _save_and_record(self, runner: Runner, name: str, meta: dict) -> None:
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        for hook in runner.hooks:
            if isinstance(hook, RandomStateHook):
                hook.gather()
        self._save(
            runner,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            **self.args,
        )
        if is_main_process():
            record = Path(runner.work_dir) / RECORD
            try:
                with written_whole(record) as temporary:
                    temporary.write_text(str(self.last_ckpt), encoding='utf-8')
            except OSError as error:
                raise UserError(
                    f'{record} cannot be written ({error.strerror or error}), so the training '
                    'ends; make room and go on with --resume'
                ) from error

    def _within_epochs(self) -> list[str]:
        """Names of checkpoints that signals left in the middle of an epoch; a whole one follows."""
        if not self.by_epoch or '://' in str(self.out_dir):
            return []
        found = (path.name for path in Path(self.out_dir).glob('epoch_*_iter_*.pth'))
        return [name for name in found if _WITHIN_EPOCH.fullmatch(name)]

    def _save(self, runner: Runner, name: str, **settings: Any) -> None:
        """Saves in the main process; if it cannot, all processes end."""
        error = None
        try:
            runner.save_checkpoint(
                self.out_dir,
                name,
                self.file_client_args,
                backend_args=self.backend_args,
                **settings,
            )
        except UserError as caught:
            error = caught
        if any_process(error is not None):
            raise error or UserError('the main process could not save a checkpoint')

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        super()._save_best_checkpoint(runner, metrics)
        # The best ones before; if nothing was saved, nothing waits.
        self.file_backend.remove_now(keep=self._best_names())

    def _best_names(self) -> set[str]:
        if not self.save_best:
            return set()
        if len(self.key_indicators) == 1:
            paths = [self.best_ckpt_path]
        else:
            paths = list(self.best_ckpt_path_dict.values())
        return {os.path.basename(path) for path in paths if path}
