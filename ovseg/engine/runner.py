"""The Runner of the tools: safe and strict checkpoints, frozen models and CPU groups."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import master_only
from mmengine.model import MMDistributedDataParallel, is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from ovseg.engine.checkpoint import load_state_strict, unwrap
from ovseg.engine.distributed import init_cpu_group
from ovseg.errors import UserError
from ovseg.registry import RUNNERS
from ovseg.weight_files import read_checkpoint, state_of
from ovseg.weight_files.reading import MapLocation


@RUNNERS.register_module()
class OVRunner(Runner):
    """mmengine's Runner with five differences.

    Checkpoints are never executed as pickles and load strictly; they are written whole or not at
    all; a training that starts from one does not initialise its weights first, so the files that
    initialisation would read are not needed; a model without anything to train is not wrapped for
    data-parallel training, which would refuse it; and processes started by a launcher on a machine
    without GPU talk over gloo.
    """

    def setup_env(self, env_cfg: dict) -> None:
        """Sets up processes, seeds and limits as mmengine does.

        Args:
            env_cfg: as in mmengine.
        """
        if self.distributed:
            init_cpu_group(self.launcher, env_cfg.get('dist_cfg'))
        super().setup_env(env_cfg)

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
        if 'meta' in content:
            # mmengine would run this text as a Python config when it resumes.
            content['meta'].pop('config', None)
        # Before loading: a hook may exchange the weights for averaged ones.
        self.call_hook('after_load_checkpoint', checkpoint=content)
        load_state_strict(self.segmentor, state_of(content, filename), filename)
        self._has_loaded = True
        self.logger.info(f'Load checkpoint from {filename}')
        return content

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Goes on with a training.

        Args:
            filename: a checkpoint that a training of ovseg or mmsegmentation wrote.
            args: as in mmengine.
            kwargs: as in mmengine.

        Raises:
            UserError: the file holds weights only.
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

    @master_only
    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        """Writes beside its place first, so that a killed training leaves no half file.

        Args:
            out_dir: folder.
            filename: name in it.
            args: as in mmengine.
            kwargs: as in mmengine.
        """
        if '://' in str(out_dir):
            super().save_checkpoint(out_dir, filename, *args, **kwargs)
            return
        temporary = f'.writing-{filename}'
        super().save_checkpoint(out_dir, temporary, *args, **kwargs)
        os.replace(Path(out_dir) / temporary, Path(out_dir) / filename)

    @property
    def segmentor(self) -> nn.Module:
        """The model without wrappers."""
        return unwrap(self.model)
