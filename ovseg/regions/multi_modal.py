"""Classes of several rows of text and several of images: the core of multi-modal prototypes.

Source: Multi-Modal Prototypes (arXiv 2307.02003), of which no code was found. What is here is its
idea without training: K rows of words and K of images a class, the latter by splitting the pixels
of masks. That words are moved by the gap to images, and how rows weigh, is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.text import Classifier

_STEPS = 20


def split_patches(features: Tensor, count: int, steps: int = _STEPS) -> Tensor:
    """Unit vectors (count or fewer, D) of groups of patches, by k-means on the sphere.

    It begins with the patch nearest to the mean, and goes on with the one farthest from all that
    were chosen, so that it is the same at every call.

    Args:
        features: (N, D), of any length but zero.
        count: how many groups; no more than there are patches that differ.
        steps: at most.

    Raises:
        UserError: no patches, or a count below 1.
    """
    if count < 1 or not len(features):
        raise UserError(
            f'{len(features)} patches are to be split into {count} groups; give a mask with '
            'patches, and a number from 1'
        )
    units = F.normalize(features, dim=1)
    chosen = [int((units @ units.mean(0)).argmax())]
    nearest = units @ units[chosen[0]]
    while len(chosen) < count and float(nearest.min()) < 1 - 1e-6:
        chosen.append(int(nearest.argmin()))
        nearest = torch.maximum(nearest, units @ units[chosen[-1]])
    centres = units[chosen]
    groups = (units @ centres.T).argmax(1)
    for _ in range(steps):
        sums = torch.zeros_like(centres).index_add_(0, groups, units)
        # A group that lost all its patches keeps its centre.
        is_there = sums.norm(dim=1, keepdim=True) > 1e-6
        centres = torch.where(is_there, F.normalize(sums, dim=1), centres)
        moved = (units @ centres.T).argmax(1)
        if torch.equal(moved, groups):
            break
        groups = moved
    return centres


def multi_modal_classifier(
    text: Classifier, visual: Sequence[Tensor | None], gap: bool = True
) -> Classifier:
    """Rows of words and of images as one classifier, combined by the logarithm of a sum.

    In a class words and images weigh alike, however many rows they have; a class without images
    answers by its words alone.

    Args:
        text: of the words; its rows stay apart.
        visual: (n, D) unit vectors of each class, or None.
        gap: words are moved by the mean difference of images and words, ``N(t + d)``. Without it,
            classes with images take the pixels of those without: cosines of images are higher.

    Raises:
        UserError: not one entry a class, or no class with images.
    """
    if len(visual) != text.num_classes:
        raise UserError(
            f'{len(visual)} classes have rows of images, but the words are of {text.num_classes}'
        )
    of_images = {label: rows for label, rows in enumerate(visual) if rows is not None and len(rows)}
    if not of_images:
        raise UserError('no class has a row of images; give a mask for one of them')
    words = F.normalize(text.weight, dim=1)
    own = {label: words[text.class_index == label] for label in text.class_index.unique().tolist()}
    if gap:
        shift = torch.stack(
            [rows.mean(0) - own[label].mean(0) for label, rows in of_images.items() if label in own]
        )
        own = {label: F.normalize(rows + shift.mean(0), dim=1) for label, rows in own.items()}
    weight, index, share, origin = [], [], [], []
    for label in range(text.num_classes):
        both = (('text', own), ('exemplar', of_images))
        parts = [(kind, table[label]) for kind, table in both if label in table]
        for kind, rows in parts:
            weight.append(rows)
            index += [label] * len(rows)
            share += [1 / (len(parts) * len(rows))] * len(rows)
            origin += [kind] * len(rows)
    device = text.weight.device
    return replace(
        text,
        weight=torch.cat(weight),
        class_index=torch.tensor(index, device=device),
        row_weight=torch.tensor(share, device=device),
        bias=torch.zeros(len(index), device=device),
        origin=tuple(origin),
        aggregation='lse',
    )
