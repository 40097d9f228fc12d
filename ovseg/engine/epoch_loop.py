"""Training in epochs that goes on in the middle of one."""

from __future__ import annotations

from mmengine.runner import EpochBasedTrainLoop as MMEpochBasedTrainLoop

from ovseg.engine.random_state import RandomStateHook
from ovseg.registry import LOOPS


@LOOPS.register_module()
class EpochBasedTrainLoop(MMEpochBasedTrainLoop):
    """mmengine's loop; a checkpoint of the middle of an epoch goes on with its next batch."""

    def run_epoch(self) -> None:
        """Iterates over an epoch, without the batches that a resumed training has seen."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        seen = self._iter - self._epoch * len(self.dataloader)
        if not 0 <= seen <= len(self.dataloader):
            seen = 0  # the data set or the batch changed
        batches = enumerate(self.dataloader)
        for _ in range(seen):
            next(batches)
        if seen:
            for hook in self.runner.hooks:
                if isinstance(hook, RandomStateHook):
                    hook.restore_transforms()
        for index, batch in batches:
            self.run_iter(index, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
