"""Several rows of images beside the words of a class: the core of multi-modal prototypes.

Source: Multi-Modal Prototypes (arXiv 2307.02003), of which no code and no weights were found. What
is here is its idea without training: a class has a row of words and K of images, which are groups
of the patches of its masks. How the rows are placed and how they weigh is ours: groups are drawn
towards the class's prototype, and a class of many rows scores on its own patches what that would.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.exemplars.prototypes import mixed_means
from ovseg.exemplars.support import Support
from ovseg.text import Classifier

_STEPS = 20


def multi_modal(support: Support, groups: int = 3, spread: float = 0.5) -> Classifier:
    """A row of words and some of images for each class, combined by the logarithm of a sum.

    Words and images weigh alike in a class, groups by their patches. ``r_g = N(p + a (c_g - c))``
    with p the row of ``proto`` before its length is taken off, c_g the centre of a group and c the
    mean of those; the bias of the class makes its mean score on its own patches that of p.
    A class without exemplars answers by its words, ``N(t + d)``.

    Args:
        support: exemplars beside the words.
        groups: K, into how many the patches of a class are split at most.
        spread: a in [0, 1], how far groups lie apart; 1 is where their patches are. Few patches
            split by chance, and rows that follow chance win patches of other classes.

    Raises:
        UserError: a number of groups below 1, or a spread outside [0, 1].
    """
    if not isinstance(groups, int) or groups < 1:
        raise UserError(f'groups of multi-modal must be a number from 1, got {groups!r}')
    if not 0 <= spread <= 1:
        raise UserError(f'spread of multi-modal must be from 0 to 1, got {spread!r}')
    words, means = F.normalize(support.expected, dim=1), mixed_means(support)
    prototypes, scale = F.normalize(means, dim=1), support.words.logit_scale
    given = support.row_weight.double()
    shares = given / torch.bincount(support.class_index, given)[support.class_index]
    rows, entry, share, bias, origin = [], [], [], [], []
    for index, has in enumerate(support.has.tolist()):
        own = words[index : index + 1]
        weight, extra = shares[index : index + 1], 0.0  # entries of one class share it
        if has:
            patches = _patches(support, index)
            centres, part = split_patches(patches, groups)
            apart = spread * (centres - part @ centres)
            own = torch.cat([own, F.normalize(means[index] + apart, dim=1)])
            weight = torch.cat([weight, weight * part]) / 2
            logits = scale * (patches @ own.T) + weight.log()
            extra = float((patches @ prototypes[index] - logits.logsumexp(1) / scale).mean())
        rows.append(own)
        share.append(weight)
        entry += [index] * len(own)
        bias += [extra] * len(own)
        origin += ['derived', *['exemplar'] * (len(own) - 1)]
    plain, place = support.classifier(words), torch.tensor(entry)
    return replace(
        plain,
        weight=torch.cat(rows).float(),
        class_index=plain.class_index[place],
        row_weight=torch.cat(share).float(),
        bias=plain.bias[place] + torch.tensor(bias),
        origin=tuple(origin),
        aggregation='lse',
    )


def _patches(support: Support, entry: int) -> Tensor:
    """Unit patches (n, D) of an entry's exemplars; of a bank that has none, the pooled vectors."""
    patches = support.samples[support.sample_entry == entry].double()
    return F.normalize(patches if len(patches) else support.vectors[support.entry == entry], dim=1)


def split_patches(features: Tensor, count: int, steps: int = _STEPS) -> tuple[Tensor, Tensor]:
    """Groups of patches by k-means on the sphere.

    It begins with the patch nearest to the mean, and goes on with the one farthest from all that
    were chosen, so that it is the same at every call.

    Args:
        features: (N, D), of any length but zero.
        count: how many groups; no more than there are patches that differ.
        steps: at most.

    Returns:
        (G, D) unit vectors in the middle of each group, G at most `count`, and (G,) the share of
        the patches that it has.

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
    sizes = torch.bincount(groups, minlength=len(centres))
    return centres[sizes > 0], (sizes[sizes > 0] / len(units)).to(units)
