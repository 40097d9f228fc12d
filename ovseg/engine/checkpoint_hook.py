"""Checkpoints one after another: the next one is whole before the last one goes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook as MMCheckpointHook
from mmengine.runner import Runner

from ovseg.engine.distributed import any_process
from ovseg.engine.finite import first_non_finite
from ovseg.engine.random_state import RandomStateHook
from ovseg.engine.resuming import RECORD
from ovseg.errors import UserError
from ovseg.files import written_whole
from ovseg.registry import HOOKS


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
    values is not saved. Only files in the checkpoints' own folder are removed, whatever a resumed
    checkpoint remembers of another folder. Every process's random state is saved.

    Args:
        settings: as in mmengine.
    """

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
        found = first_non_finite({key: checkpoint.get(key) for key in ('state_dict', 'optimizer')})
        if found is not None:
            raise UserError(
                f"the training's state holds NaN or infinite values in '{found}', so it is not "
                f'saved and the training ends; the last checkpoint in {self.out_dir} is kept: go on '
                'from it with --resume and a lower learning rate'
            )

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
        if self.max_keep_ckpts > 0:
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        if not is_main_process():
            return
        with written_whole(Path(runner.work_dir) / RECORD) as temporary:
            temporary.write_text(str(self.last_ckpt), encoding='utf-8')
        for old in outdated:
            path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(old))
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)
        self.file_backend.remove_now(keep={name} | self._best_names())

    def _save(self, runner: Runner, name: str, **settings: Any) -> None:
        """Saves in the main process; if it cannot, all processes end."""
        error = None
        try:
            runner.save_checkpoint(
                self.out_dir, name, self.file_client_args, backend_args=self.backend_args, **settings
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
