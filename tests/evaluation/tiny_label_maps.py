"""Random label maps, and a confusion matrix counted by hand."""

from __future__ import annotations

import numpy as np
import torch


def naive_matrix(prediction, label, num_classes, ignore_index):
    matrix = np.zeros((num_classes, num_classes + 1), np.int64)
    for guess, truth in zip(prediction.flatten().tolist(), label.flatten().tolist(), strict=True):
        if truth != ignore_index:
            matrix[truth, guess if 0 <= guess < num_classes else num_classes] += 1
    return matrix


def random_maps(seed, num_classes, ignore_index, size=(7, 9), low=-2, beyond=3):
    generator = torch.Generator().manual_seed(seed)
    prediction = torch.randint(low, num_classes + beyond, size, generator=generator)
    label = torch.randint(0, num_classes, size, generator=generator)
    label[torch.rand(size, generator=generator) < 0.2] = ignore_index
    return prediction, label
