"""Small cases of the refinement: a tiny random SAM, smooth random probabilities."""

from __future__ import annotations

import torch
from segment_anything.utils.transforms import ResizeLongestSide
from torch.nn import functional as F

from ovseg.encoders.prompted_sam import SAMImage
from ovseg.encoders.sam import LoadedSAM
from ovseg.encoders.sam_architecture import build_sam_architecture
from ovseg.encoders.sam_encoder import SAMEncoder
from ovseg.scores.row_map import RowMap

FRAME = 64
TINY_SAM = {
    'image_size': FRAME,
    'patch_size': 8,
    'encoder_embed_dim': 8,
    'encoder_depth': 1,
    'encoder_num_heads': 1,
    'mlp_ratio': 1.0,
    'global_attn_indexes': [0],
    'window_size': 2,
    'prompt_embed_dim': 16,
    'mask_in_chans': 8,
    'decoder_num_heads': 2,
    'decoder_mlp_dim': 16,
    'iou_head_hidden_dim': 8,
}


class Scores(RowMap):
    """Given probabilities (K, H, W); remembers how many rows were asked for at once."""

    def __init__(self, probabilities):
        self.probabilities = probabilities
        self.asked = []

    @property
    def size(self):
        return tuple(self.probabilities.shape[1:])

    @property
    def channels(self):
        return len(self.probabilities)

    @property
    def like(self):
        return self.probabilities

    @property
    def values_a_row(self):
        return self.channels * self.size[1]

    def rows(self, start, stop, channels=slice(None)):
        self.asked.append(stop - start)
        return self.probabilities[channels, start:stop]


def tiny_sam(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sam = build_sam_architecture(TINY_SAM).eval().requires_grad_(False)
    return SAMEncoder(LoadedSAM(sam, 'custom', 'random'))


def sam_image(image_size, seed=0):
    features = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(seed))
    input_size = ResizeLongestSide.get_preprocess_shape(*image_size, FRAME)
    return SAMImage(features, input_size, tuple(image_size), (FRAME, FRAME))


def coarse_case(size, classes=4, seed=0, blob=7):
    """Labels (H, W), some of them rejected to class 0, and probabilities (K, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    grid = [max(1, side // blob) for side in size]
    logits = 4 * torch.randn(1, classes, *grid, generator=generator)
    logits = F.interpolate(logits, size=size, mode='bicubic')[0]
    probabilities = (logits + 0.1 * torch.randn(classes, *size, generator=generator)).softmax(0)
    largest, labels = probabilities.max(dim=0)
    return labels.masked_fill(largest < 0.45, 0), Scores(probabilities)


def grown(allowed, start):
    """The pixels of `allowed` that are reached from `start`, also over corners."""
    height, width = allowed.shape
    reached, edge = {start}, [start]
    while edge:
        y, x = edge.pop()
        for near in ((y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
            inside = 0 <= near[0] < height and 0 <= near[1] < width
            if inside and near not in reached and allowed[near]:
                reached.add(near)
                edge.append(near)
    return reached


def plain_regions(labels, probabilities, threshold, min_area):
    """(class, mask, box, point) of every region, by the definition."""
    regions = []
    for label, probability in enumerate(probabilities):
        if probability.max() < threshold:
            continue
        left = (labels == label) & (probabilities.amax(0) >= threshold)
        for start in left.nonzero().tolist():
            if not left[tuple(start)]:
                continue
            pixels = sorted(grown(left, tuple(start)))
            mask = torch.zeros_like(left)
            mask[tuple(zip(*pixels, strict=True))] = True
            left = left & ~mask
            ys, xs = zip(*pixels, strict=True)
            best = max(pixels, key=lambda pixel, p=probability: p[pixel].item())
            if len(pixels) >= min_area:
                box = [min(xs), min(ys), max(xs), max(ys)]
                regions.append((label, mask, box, [best[1], best[0]]))
    return regions


def plain_prompts(labels, probabilities, settings):
    """Half the size, probabilities there, and the regions, by the definition."""
    half = [side // 2 for side in labels.shape]
    small = F.interpolate(probabilities[None], size=half, mode='bilinear')[0]
    nearest = F.interpolate(labels[None, None].float(), size=half, mode='nearest')[0, 0].long()
    return half, small, plain_regions(nearest, small, settings.coarse_threshold, settings.min_area)


def plain_fusion(answers, full, labels, probabilities, threshold):
    """Labels, scores and kept boxes with every mask at full size, product before maximum.

    Args:
        answers: (class, region mask, box, iou, low-res logits (1, s, s)) each.
        full: logits (n, 1, s, s) -> (n, H, W) at the size of the labels.
        labels: (H, W) coarse ones.
        probabilities: (K, H, W).
        threshold: of the IoU.
    """
    kept = [answer for answer in answers if answer[3] > threshold]
    if not kept:
        return labels, probabilities, []
    scores = torch.zeros_like(probabilities)
    for label in {answer[0] for answer in kept}:
        logits = full(torch.stack([answer[4] for answer in kept if answer[0] == label]))
        products = (logits.sigmoid() * probabilities[label]).amax(0)
        scores[label] = products * (logits > 0).any(0)
    refined = torch.where(scores.sum(0) == 0, labels, scores.argmax(0))
    for _, mask, _, fit, _ in answers:
        if fit <= threshold:
            area = F.interpolate(mask[None, None].float(), size=labels.shape, mode='nearest')
            scores = torch.maximum(scores, area[0] * probabilities)
    return refined, scores, [[2 * side for side in answer[2]] for answer in kept]


def assert_same(ours, theirs):
    """Equal but for pixels whose logit is 0 within rounding."""
    different = (ours.float() - theirs.float()).abs() > 1e-4
    assert different.sum() <= 3
