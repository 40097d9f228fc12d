"""How many of OVSeg's regions need not be encoded, if not a single label may change: hardly any.

    python benchmarks/spared_regions.py --scenes 12
    python benchmarks/spared_regions.py --scenes 12 --weight 0.7

CLIP's image tower on the regions is nearly all of OVSeg's time. A region that cannot win need not
be encoded, if a bound shows it. What a mask q adds to class k at a pixel is m_q p1_q(k)^(1-w)
p2_q(k)^w; before CLIP has seen the region, all but p2 is known, and p2 is at most 1. So at each
pixel class k gets between what the other masks give it and m_q p1_q(k)^(1-w) more, and the label is
certain where the best class of the others stays ahead of every other class with its addition. (With
w = 0 CLIP alone names valid masks, and the bound is m_q.)

Counted are the regions that could be left out if the scores of *all others* were known already.
Whatever the order in which regions are encoded, less is known at the time, so nothing that rests on
p2 <= 1 leaves out more. (Mean scores read every p2: with them, all regions are encoded anyway.)
Regions that are equal pixel by pixel could share, and are counted, too.

The tiny OVSeg, drawn scenes of the split val, the classes of Scenes, labels at the network's size.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ovseg import OpenVocabSegmenter
from ovseg.regions.mask_maps import mask_probabilities, sum_of_masks
from ovseg.regions.region_embeddings import crop_proposals
from ovseg.regions.region_scores import proposal_probabilities
from ovseg.scenes.draw import draw
from ovseg.scenes.world import sample_scene
from ovseg.segmentors.mask_segmentor import ProposalEncoding


def is_open(masks: Tensor, scores: Tensor, query: int, most: Tensor) -> Tensor:
    """Where a mask's own scores may decide the label, all other masks' scores being known.

    Args:
        masks: (Q, H, W) in [0, 1].
        scores: (Q, K); those of the mask itself are not read.
        query: of the mask.
        most: (K,) what its scores are at most; they are at least 0.

    Returns:
        (H, W) bool; elsewhere every choice of its scores gives the same label.
    """
    others = scores.clone()
    others[query] = 0
    least = sum_of_masks(masks, others)
    label = least.argmax(0, keepdim=True)
    highest = least + masks[query] * most[:, None, None]
    rivals = highest.scatter(0, label, -torch.inf).amax(0)
    return least.gather(0, label)[0] <= rivals


def open_shares(segment: OpenVocabSegmenter, image: np.ndarray) -> tuple[list[float], int]:
    """The share of the pixels that each region of an image may decide, and how many are doubles.

    Args:
        segment: an OVSeg with classes.
        image: (H, W, 3) uint8 RGB.
    """
    model, classifier = segment.model, segment.model.classifier
    encoding = segment.encode(image).encoding
    assert isinstance(encoding, ProposalEncoding)
    found = model.score_proposals(encoding, classifier)
    masks = mask_probabilities(encoding.proposals.maps)
    scores = torch.zeros(len(masks), found.scores.shape[1])
    scores[found.queries] = found.scores
    weight = model.ensemble.weight
    most = torch.ones_like(scores)
    if weight:
        own = model.proposals.classify(encoding.proposals.embeddings, classifier.weight)
        most = proposal_probabilities(own) ** (1 - weight)
    queries = encoding.features.valid.nonzero().flatten().tolist()
    shares = [is_open(masks, scores, query, most[query]).float().mean().item() for query in queries]
    resized = torch.from_numpy(segment.resize.apply(image)).permute(2, 0, 1)
    crops = crop_proposals(resized, encoding.proposals.maps, model.region_settings)
    seen = {
        (image.numpy().tobytes(), mask.numpy().tobytes())
        for image, mask in zip(crops.images, crops.masks, strict=True)
    }
    return shares, len(queries) - len(seen)


def main(argv: Sequence[str] | None = None) -> None:
    """Counts and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--scenes', type=int, default=12, help='default: %(default)s')
    parser.add_argument('--weight', type=float, help="w of the ensemble (default: the config's)")
    args = parser.parse_args(argv)
    segment = OpenVocabSegmenter('ovseg-tiny', on='scenes', device='cpu', precision='float32')
    if args.weight is not None:
        segment.model.ensemble = replace(segment.model.ensemble, weight=args.weight)
    shares: list[float] = []
    doubles = 0
    with torch.no_grad():
        for number in range(args.scenes):
            found, equal = open_shares(segment, draw(sample_scene('val', number)).image)
            shares, doubles = shares + found, doubles + equal
    spared = sum(share == 0 for share in shares)
    print(
        f'w = {segment.model.ensemble.weight}: of {len(shares)} regions in {args.scenes} scenes '
        f'{spared} could be left out if all others were known, {doubles} equal another; the median '
        f'region may decide {100 * statistics.median(shares):.2f} % of the pixels'
    )


if __name__ == '__main__':
    main()
