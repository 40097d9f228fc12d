"""The Runner of the tools: safe and strict checkpoints, frozen models and CPU groups."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process, master_only
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel, is_model_wrapper
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from ovseg.engine.checkpoint import load_state_strict, unwrap
from ovseg.engine.data_folders import check_folders
from ovseg.engine.distributed import any_process, init_cpu_group
from ovseg.engine.finite import non_finite_state
from ovseg.engine.guarded_samples import guard_samples
from ovseg.engine.resuming import checkpoint_folder, latest_checkpoint
from ovseg.engine.saved_outputs import name_test_outputs, name_val_outputs
from ovseg.engine.stopping import StopSignals, keep_workers
from ovseg.engine.work_folder import held_folder
from ovseg.errors import UserError
from ovseg.files import claim_folder, written_whole
from ovseg.input_files import cause_of
from ovseg.registry import RUNNERS
from ovseg.weight_files import find_weights, read_checkpoint, state_of
from ovseg.weight_files.places import check_named_files
from ovseg.weight_files.reading import MapLocation

# Settings of a data loader that mean nothing, or are refused, where it has no processes.
_OF_WORKERS = ('persistent_workers', 'prefetch_factor', 'timeout', 'multiprocessing_context')
# By their names in default_hooks.
_OWN_HOOKS = {
    'files': {'type': 'FileCheckHook'},
    'finite': {'type': 'FiniteStateHook'},
    'label_use': {'type': 'LabelUseHook'},
}


def _stop_logging(handler: logging.FileHandler, record: logging.LogRecord) -> None:
    """In the place of ``handleError``, which prints a traceback for every line that is lost."""
    error = sys.exc_info()[1]
    if not isinstance(error, OSError):
        logging.FileHandler.handleError(handler, record)
        return
    with suppress(OSError):
        handler.close()
    logging.getLogger(record.name).removeHandler(handler)
    raise UserError(
        f'the log {handler.baseFilename} cannot be written ({error.strerror or error}), so the run '
        'ends; make room or choose another --work-dir'
    ) from error


@RUNNERS.register_module()
class OVRunner(Runner):
    """mmengine's Runner with some differences.

    Checkpoints are never executed as pickles and load strictly; they are written whole or not at
    all, and never with NaN in them; signals of schedulers end a training after it was saved; files
    of a data set that are none are told in a sentence; a training that starts from a checkpoint
    does not initialise its weights first, so the files that initialisation would read are not
    needed; a model without anything to train is not wrapped for data-parallel training, which
    would refuse it; data are looked for before the model is built; processes started by a
    launcher on a machine without GPU talk over gloo; and each run has a folder of its own for
    logs and results, however many start in one second.
    """

    _timestamp: str
    _test_loop: Any

    @classmethod
    def from_cfg(cls, cfg: Any) -> Runner:
        """The Runner of a config, whose weight files are looked for before anything is built.

        Args:
            cfg: as in mmengine.

        Raises:
            FileNotFoundError: a weight file is not there.
            UserError: something else lies there.
        """
        named = cfg.get('load_from')
        if named and '://' not in str(named):
            find_weights(named)
        elif not named and not cfg.get('resume'):
            check_named_files(cfg.get('model'), 'model')
        return super().from_cfg(cfg)

    def setup_env(self, env_cfg: dict) -> None:
        """Sets up processes, seeds and limits as mmengine does.

        Args:
            env_cfg: as in mmengine.
        """
        if self.distributed:
            init_cpu_group(self.launcher, env_cfg.get('dist_cfg'))
        super().setup_env(env_cfg)
        # Runs that start in one second have logs and results of their own.
        names = [claim_folder(self.work_dir, self._timestamp) if is_main_process() else '']
        broadcast_object_list(names)
        self._timestamp = names[0]

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """The logger of mmengine; a log that cannot be written ends the run in one sentence.

        Args:
            args: as in mmengine.
            kwargs: as in mmengine.
        """
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.handleError = partial(_stop_logging, handler)  # type: ignore[method-assign]
        return logger

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Builds the model, after the data that it is for.

        Data that are not there are told before weights are loaded and words encoded, which may take
        minutes.

        Args:
            model: as in mmengine.
        """
        parts = ('test',) if self._train_loop is None else ('train', 'val')
        for part in parts:
            settings = getattr(self, f'_{part}_dataloader')
            if isinstance(settings, dict):
                different = self._randomness_cfg.get('diff_rank_seed', False)
                loader = self.build_dataloader(settings, self.seed, different)
                setattr(self, f'_{part}_dataloader', loader)
        return super().build_model(model)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Moves the model to its device and wraps it for data-parallel training if it trains.

        Args:
            model_wrapper_cfg: as in mmengine.
            model: the model.
        """
        if not self.distributed or is_model_wrapper(model):
            return super().wrap_model(model_wrapper_cfg, model)
        on_gpu = torch.cuda.is_available()
        if not any(parameter.requires_grad for parameter in model.parameters()):
            return model.to(f'cuda:{os.environ["LOCAL_RANK"]}' if on_gpu else 'cpu')
        if on_gpu or model_wrapper_cfg is not None:
            return super().wrap_model(model_wrapper_cfg, model)
        return MMDistributedDataParallel(
            module=model,
            broadcast_buffers=False,
            find_unused_parameters=self.cfg.get('find_unused_parameters', False),
        )

    def register_default_hooks(self, hooks: dict | None = None) -> None:
        """Registers mmengine's hooks and ours; a config may set them or, with None, leave them out.

        Args:
            hooks: ``default_hooks`` of a config.
        """
        merged: dict[str, Any] = {**_OWN_HOOKS, **(hooks or {})}
        for name, own in _OWN_HOOKS.items():
            given = merged[name]
            if given is None:
                del merged[name]
            elif isinstance(given, dict):
                merged[name] = {**own, **given}
        super().register_default_hooks(merged)

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """The loader of a config, with two settings more.

        ``max_bad_samples`` lets a training pass over so many samples that cannot be read;
        ``num_workers=0`` switches off what only worker processes have (``persistent_workers``,
        ``prefetch_factor``, ``timeout``, ``multiprocessing_context``).

        Args:
            dataloader: a loader, which is returned, or its config.
            seed: of samplers and workers.
            diff_rank_seed: whether processes have seeds of their own.
        """
        if not isinstance(dataloader, dict):
            return dataloader
        settings = dict(dataloader)
        limit = settings.pop('max_bad_samples', 0)
        if not isinstance(limit, int) or limit < 0:
            raise UserError(f'max_bad_samples is {limit!r}; give a number from 0')
        for name, least in (('num_workers', 0), ('batch_size', 1)):
            value = settings.get(name, least)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UserError(f'{name} of a data loader is {value!r}; give a number from {least}')
        if not settings.get('num_workers'):
            for name in _OF_WORKERS:
                settings.pop(name, None)
        check_folders(settings.get('dataset'))
        loader = Runner.build_dataloader(settings, seed, diff_rank_seed)
        guard_samples(loader.dataset, limit)
        keep_workers(loader)
        return loader

    def train(self) -> nn.Module:
        """Trains; signals of schedulers end it after the state was saved.

        Raises:
            TrainingStopped: one was received.
            UserError: another training runs in the work folder.
        """
        self.stop_signals = StopSignals()
        with self._held_folders(), self.stop_signals:
            return super().train()

    def build_val_loop(self, loop: Any) -> Any:
        """The loop of validations, which decides the names of the files it saves.

        Args:
            loop: as in mmengine.
        """
        built = super().build_val_loop(loop)
        name_val_outputs(built)
        return built

    def test(self) -> dict:
        """Tests; where files are saved, their names are decided first."""
        self._test_loop = self.build_test_loop(self._test_loop)
        name_test_outputs(self)
        return super().test()

    @contextmanager
    def _held_folders(self) -> Iterator[None]:
        """Keeps other trainings out of the folders; all processes end if one is taken."""
        error = None
        with ExitStack() as held:
            try:
                for folder in self._folders() if is_main_process() else ():
                    held.enter_context(held_folder(folder))
            except UserError as caught:
                error = caught
            if any_process(error is not None):
                raise error or UserError(f'another training runs in {self.work_dir}')
            yield

    def _folders(self) -> list[Path]:
        """The work folder, and where checkpoints go if that is elsewhere on this machine."""
        folders = [Path(self.work_dir), self._checkpoint_folder()]
        return [one for one in dict.fromkeys(folders) if '://' not in str(one)]

    def _checkpoint_folder(self) -> Path:
        return checkpoint_folder(Config({**self.cfg, 'work_dir': self.work_dir}))

    def _init_model_weights(self) -> None:
        """Initialises the weights, unless a checkpoint brings all of them."""
        if self._load_from is None:
            super()._init_model_weights()

    def load_checkpoint(
        self,
        filename: str,
        map_location: MapLocation = 'cpu',
        strict: bool = True,
        revise_keys: list | None = None,
    ) -> dict[str, Any]:
        """Loads weights; any unexplained or missing key stops the run.

        Args:
            filename: file or URL.
            map_location: as in ``torch.load``.
            strict: always on, for mmengine's callers.
            revise_keys: unused, for mmengine's callers.

        Raises:
            FileNotFoundError: there is no such file.
            UserError: the file is unsafe, damaged or does not fit.
        """
        content = read_checkpoint(filename, map_location)
        if isinstance(content.get('meta'), dict):
            # mmengine would run this text as a Python config when it resumes.
            content['meta'].pop('config', None)
        found = non_finite_state(content)
        if found is not None:
            raise UserError(
                f"{filename} holds NaN or infinite values in '{found}'; take an earlier checkpoint"
            )
        # Before loading: a hook may exchange the weights for averaged ones.
        self.call_hook('after_load_checkpoint', checkpoint=content)
        load_state_strict(self.segmentor, state_of(content, filename), filename)
        self._has_loaded = True
        self.logger.info(f'Load checkpoint from {filename}')
        return content

    _resume: bool
    _load_from: str | None

    def load_or_resume(self) -> None:
        """Loads or resumes; ``resume=True`` alone takes the newest intact checkpoint."""
        if self._resume and self._load_from is None and not self._has_loaded:
            folder = self._checkpoint_folder()
            found = latest_checkpoint(folder, self.logger.warning)
            if found is None:
                self.logger.warning(
                    f'There is no checkpoint in {folder}: the training starts from the beginning.'
                )
            self._load_from = None if found is None else str(found)
            self._resume = found is not None
        super().load_or_resume()

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Goes on with a training.

        Args:
            filename: a checkpoint that a training of ovseg or mmsegmentation wrote.
            args: as in mmengine.
            kwargs: as in mmengine.

        Raises:
            UserError: the file holds weights only, or the state of another optimizer.
        """
        try:
            super().resume(filename, *args, **kwargs)
        except KeyError as error:
            if error.args[0] not in ('meta', 'epoch', 'iter', 'message_hub'):
                raise
            raise UserError(
                f"{filename} has weights but no '{error.args[0]}' of a training to go on with; "
                'give a checkpoint that a training wrote, or start from these weights with '
                '--cfg-options load_from=FILE'
            ) from error
        except (UserError, FileNotFoundError):
            raise
        except (ValueError, TypeError, AttributeError, IndexError) as error:
            raise UserError(
                f'{filename} does not fit this training ({cause_of(error)}), whose optimizer or '
                'schedule may have changed since; go on with the config beside it, or start from '
                'its weights with --cfg-options load_from=FILE'
            ) from error

    @master_only
    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        """Writes beside its place first, so that a killed training leaves no half file.

        Args:
            out_dir: folder.
            filename: name in it.
            args: as in mmengine.
            kwargs: as in mmengine.

        Raises:
            UserError: the disk is full or may not be written to; nothing of the file stays.
        """
        if '://' in str(out_dir):
            super().save_checkpoint(out_dir, filename, *args, **kwargs)
            return
        path = Path(out_dir) / filename
        try:
            with written_whole(path) as temporary:
                super().save_checkpoint(out_dir, temporary.name, *args, **kwargs)
                # On the disk before it takes its name: after a power failure there must be no
                # empty file in the place of an older one.
                with temporary.open('rb') as written:
                    os.fsync(written.fileno())
        except OSError as error:
            raise UserError(
                f'the checkpoint {path} cannot be written ({error.strerror or error}), so the '
                'training ends and older checkpoints are kept; make room, or choose another '
                '--work-dir, and go on with --resume'
            ) from error

    @property
    def segmentor(self) -> nn.Module:
        """The model without wrappers."""
        return unwrap(self.model)
