"""Random transforms whose outcome is a function of the sample, not of the process."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from torch.utils.data import Dataset

from ovseg.registry import DATASETS, in_our_scope


@DATASETS.register_module()
class SeededSamplesDataset(Dataset):
    """A data set whose sample ``index`` is the same in every run of one round of training.

    The transforms draw from generators that are seeded by (seed, round, index), so samples do not
    depend on the number of worker processes, and a resumed training sees what an uninterrupted one
    would have seen. :class:`~ovseg.engine.SampleSeedHook` tells the rounds.

    Args:
        dataset: config of the data set, or the data set.
        seed: number of the whole training.
    """

    @in_our_scope
    def __init__(self, dataset: Mapping[str, Any] | BaseDataset, seed: int = 0) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, Mapping) else dataset
        self.seed = seed
        self.epoch = 0

    @property
    def metainfo(self) -> dict[str, Any]:
        """Of the data set."""
        return self.dataset.metainfo

    def full_init(self) -> None:
        """Finishes the data set's own lazy initialisation, if it has one."""
        if hasattr(self.dataset, 'full_init'):
            self.dataset.full_init()

    def set_epoch(self, epoch: int) -> None:
        """Tells the round of training.

        Args:
            epoch: counted from 0.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        """Returns the sample; the process's own generators are left as they are."""
        states = random.getstate(), np.random.get_state(), torch.get_rng_state()
        sequence = np.random.SeedSequence((self.seed, self.epoch, int(index)))
        first, second, third = (int(word) for word in sequence.generate_state(3))
        random.seed(first)
        np.random.seed(second)
        torch.manual_seed(third)
        try:
            return self.dataset[index]
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.set_rng_state(states[2])
