"""Tells data sets with seeded samples which round of training it is."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ovseg.errors import UserError
from ovseg.registry import HOOKS


@HOOKS.register_module()
class SampleSeedHook(Hook):
    """Sets the round of a :class:`~ovseg.datasets.SeededSamplesDataset` before its loader starts.

    Raises:
        UserError: the loader keeps its workers, which would not hear of the new round.
    """

    def before_train_epoch(self, runner: Runner) -> None:
        """Tells the training data set, if it asks."""
        loader = runner.train_dataloader
        if not hasattr(loader.dataset, 'set_epoch'):
            return
        if loader.num_workers and loader.persistent_workers:
            raise UserError(
                'train_dataloader.persistent_workers must be False with a data set of seeded '
                'samples: workers that live on would not hear of a new round'
            )
        loader.dataset.set_epoch(runner.epoch)
