"""What images of one word have in common: ReCo's co-segmentation, and FreeDA's prototype masks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.errors import UserError

Reference = Literal['avg', 'weighted', 'winner']
TEXT_TEMPERATURE = 10.0


def context_weights(features: Tensor, context: Tensor) -> Tensor:
    """How much each patch looks like things that are everywhere, (B, N, h, w) in (0, 1).

    Args:
        features: (B, C, h, w) of any length.
        context: (N, C), such as trees, sky, buildings, roads and persons.

    Source: ReCo (arXiv 2206.07045), networks/reco.py, ``_get_context_weights``.
    """
    units = F.normalize(features, dim=1)
    return torch.einsum('bchw,nc->bnhw', units, F.normalize(context, dim=1)).sigmoid()


def patch_weights(text_scores: Tensor, context: Tensor | None = None) -> Tensor:
    """How much each patch counts when images are compared, (B, h, w) in (0, 1).

    Args:
        text_scores: (B, h, w), cosines with the word.
        context: of :func:`context_weights`, or None.

    Source: ReCo, networks/reco.py, ``_cosegment``.
    """
    weights = (TEXT_TEMPERATURE * text_scores).sigmoid()
    return weights if context is None else weights * (1 - context).prod(dim=1)


def seed_patches(
    features: Sequence[Tensor], weights: Sequence[Tensor] | None = None, published: bool = False
) -> list[int]:
    """In each of B images the patch that the other images have, too.

    A patch is as good as its likeness to the best patch of each image, averaged over images.

    Args:
        features: (N, C) of each image, of any length; images may differ in N.
        weights: (N,) of each, from :func:`patch_weights`, of the patches that are looked for; None
            for ones.
        published: compute as the released code does, in which from the second image on a patch is
            compared with an image *and those that follow*, as far again as the images before it
            reach. False compares with each image by itself, as the paper says.

    Source: ReCo (arXiv 2206.07045), section 3.2; networks/reco.py,
    ``_get_reference_image_feature``.
    """
    units = [F.normalize(image, dim=1) for image in features]
    every = torch.cat(units)
    weight = None if weights is None else torch.cat(list(weights))
    starts = [0]
    for image in units:
        starts.append(starts[-1] + len(image))
    seeds = []
    for own in units:  # so that one image's likenesses exist at a time
        likeness = own @ every.T
        if weight is not None:
            likeness = likeness * weight
        best = [
            likeness[:, start : start + stop if published else stop].amax(1)
            for start, stop in pairwise(starts)
        ]
        seeds.append(int(torch.stack(best).mean(0).argmax()))
    return seeds


def reference_of(seeds: Tensor, kind: Reference = 'avg') -> Tensor:
    """One unit vector (C,) of seeds (B, C), of any length.

    Args:
        seeds: features of :func:`seed_patches`, the image that fits the word best first.
        kind: ``'avg'``, the mean; ``'weighted'``, by place, the first counts 1 and the last 1 / B;
            ``'winner'``, the seed that is most like the others.

    Raises:
        UserError: another kind.

    Source: ReCo, networks/reco.py.
    """
    if kind not in get_args(Reference):
        raise UserError(f'a reference is one of {list(get_args(Reference))}, got {kind!r}')
    if kind == 'winner':
        units = F.normalize(seeds, dim=-1)
        chosen = seeds[(units @ units.T).sum(1).argmax()]
    elif kind == 'weighted':
        share = torch.linspace(1.0, 1 / len(seeds), len(seeds), device=seeds.device)
        chosen = (share[:, None] * seeds).sum(0) / share.sum()
    else:
        chosen = seeds.mean(0)
    return F.normalize(chosen, dim=0)


def cosegment(
    features: Sequence[Tensor],
    weights: Sequence[Tensor] | None = None,
    kind: Reference = 'avg',
    published: bool = False,
) -> tuple[Tensor, Tensor]:
    """What B images have in common: a unit vector (C,), and the seeds (B, C) that it is made of.

    Args:
        features: (N, C) of each image, the one that fits best first.
        weights: see :func:`seed_patches`.
        kind: see :func:`reference_of`.
        published: see :func:`seed_patches`.

    Raises:
        UserError: another kind.
    """
    places = seed_patches(features, weights, published)
    seeds = torch.stack([image[place] for image, place in zip(features, places, strict=True)])
    return reference_of(seeds, kind), seeds


def prototype_scores(features: Tensor, prototypes: Tensor, largest: float = 1.0) -> Tensor:
    """Scores (B, K, h, w) of classes with P prototypes each.

    Args:
        features: (B, C, h, w) of any length.
        prototypes: (K, P, C), likewise.
        largest: how much the best prototype counts beside the mean of all, in [0, 1].

    Source: FreeDA (arXiv 2404.06542), masker.py; its masks are the sigmoid of this.
    """
    units = F.normalize(features, dim=1)
    cosines = torch.einsum('bchw,kpc->bkphw', units, F.normalize(prototypes, dim=-1))
    return torch.lerp(cosines.mean(2), cosines.amax(2), largest)
