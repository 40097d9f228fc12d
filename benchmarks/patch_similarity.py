"""How well cosines of patch features tell same from different, and how well FOUND finds objects.

    python benchmarks/patch_similarity.py [--scenes 40] [--first 0] [--size 144]

Scenes of the split val, labels used for measuring alone. For the tiny DINO, the same network
untrained, and the tiny CLIP (whole scene, and windows of 32 pixels by 16, averaged) it prints of
all pairs of patches of a scene, both at least 90 % one class:

- AUC: how often a pair of the same class is more alike than a pair of different classes,
- AUC with objects: the same for pairs with a patch of an object in them,
- right at 0.2: balanced accuracy of "same, if the cosine is above 0.2"; and at the best threshold,
- mean cosine of pairs of the same class and of different classes.

For FOUND it prints the foreground's IoU with the pixels of objects and the pixel accuracy.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.clip_vit import CLIPViTEncoder
from ovseg.encoders.embedded import read_embedded
from ovseg.encoders.tiny import build_tiny_clip
from ovseg.encoders.tiny_dino import build_tiny_dino, build_tiny_found
from ovseg.scenes.datasets import class_labels
from ovseg.scenes.draw import draw
from ovseg.scenes.found import background_mask, last_queries_and_keys
from ovseg.scenes.world import MATERIALS, sample_scene
from ovseg.weight_files import WEIGHTS

PATCH = 8
WINDOW, STEP = 32, 16
PURE = 0.9
PAIRS = 200_000  # drawn for an AUC
# (1, 3, H, W) in [0, 1] -> name of the kind -> (N, D)
Features = Callable[[Tensor], dict[str, Tensor]]


def scenes(numbers: range, size: int) -> Iterator[tuple[Tensor, np.ndarray]]:
    """Yields pictures (1, 3, size, size) in [0, 1] and label maps (192, 192)."""
    for number in numbers:
        scene = sample_scene('val', number)
        picture = draw(scene)
        image = cv2.resize(picture.image, (size, size), interpolation=cv2.INTER_LINEAR)
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
        yield pixels, class_labels(scene, picture)


def patch_labels(labels: np.ndarray, grid: int) -> Tensor:
    """Returns the class of each patch (N,), -1 if less than 90 % of it is one class."""
    edges = np.round(np.linspace(0, len(labels), grid + 1)).astype(int)
    found = []
    for top, bottom in zip(edges, edges[1:], strict=False):
        for left, right in zip(edges, edges[1:], strict=False):
            counts = np.bincount(labels[top:bottom, left:right].ravel())
            found.append(counts.argmax() if counts.max() >= PURE * counts.sum() else -1)
    return torch.tensor(found)


def normalised(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Returns pixels less `mean`, divided by `std`."""
    return (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def dino_features(vit: VisionTransformer, mean: tuple, std: tuple) -> Features:
    """Returns a function that gives values and keys of the last block."""

    def features(pixels: Tensor) -> dict[str, Tensor]:
        seen: list[Tensor] = []
        qkv = vit.blocks[-1].attn.qkv
        hook = qkv.register_forward_hook(lambda _, inputs, output: seen.append(output))
        vit.forward_features(normalised(pixels, mean, std))
        hook.remove()
        _, keys, values = seen[0][0, 1:].chunk(3, -1)
        return {'values': values, 'keys': keys}

    return features


def clip_features(windows: bool) -> Features:
    """Returns a function that gives values and keys of the tiny CLIP's last block."""
    clip, _, mean, std = build_tiny_clip()
    encoder = CLIPViTEncoder(clip.visual)
    blocks = clip.visual.transformer.resblocks

    def maps(pixels: Tensor) -> Tensor:
        """Queries, keys and values side by side, (B, 3D, h, w)."""
        before = encoder(pixels, layers=(len(blocks) - 1,)).intermediates[0]
        tokens = blocks[-1].ln_1(before.permute(0, 2, 3, 1))
        joint = F.linear(tokens, blocks[-1].attn.in_proj_weight, blocks[-1].attn.in_proj_bias)
        return joint.permute(0, 3, 1, 2)

    def features(pixels: Tensor) -> dict[str, Tensor]:
        pixels = normalised(pixels, mean, std)
        if windows:
            starts = range(0, pixels.shape[-1] - WINDOW + 1, STEP)
            total, count = 0.0, 0.0
            for top in starts:
                for left in starts:
                    part = maps(pixels[..., top : top + WINDOW, left : left + WINDOW])
                    border = (left, pixels.shape[-1] - left - WINDOW)
                    border += (top, pixels.shape[-2] - top - WINDOW)
                    border = [edge // PATCH for edge in border]
                    total = total + F.pad(part, border)
                    count = count + F.pad(torch.ones_like(part), border)
            joint = total / count
        else:
            joint = maps(pixels)
        _, keys, values = joint[0].flatten(1).T.chunk(3, -1)
        return {'values': values, 'keys': keys}

    return features


def order(same: Tensor, different: Tensor) -> float:
    """Returns the AUC, estimated from random pairs of pairs."""
    generator = torch.Generator().manual_seed(0)
    first = same[torch.randint(len(same), (PAIRS,), generator=generator)]
    second = different[torch.randint(len(different), (PAIRS,), generator=generator)]
    return (first > second).float().mean().item()


def report(name: str, features: Features, numbers: range, size: int) -> None:
    """Prints a row for each kind of feature."""
    same: dict[str, list[Tensor]] = {}
    different: dict[str, list[Tensor]] = {}
    for pixels, labels in scenes(numbers, size):
        of_patch = patch_labels(labels, size // PATCH)
        pure = of_patch >= 0
        of_patch = of_patch[pure]
        first, second = torch.triu_indices(len(of_patch), len(of_patch), 1)
        equal = of_patch[first] == of_patch[second]
        thing = torch.maximum(of_patch[first], of_patch[second]) >= len(MATERIALS)
        for kind, vectors in features(pixels).items():
            unit = F.normalize(vectors[pure], dim=1)
            cosine = (unit @ unit.T)[first, second]
            for key, chosen in (('', slice(None)), (' objects', thing)):
                at = (cosine[chosen], equal[chosen])
                same.setdefault(kind + key, []).append(at[0][at[1]])
                different.setdefault(kind + key, []).append(at[0][~at[1]])
    for kind in ('values', 'keys'):
        alike, other = torch.cat(same[kind]), torch.cat(different[kind])
        objects = torch.cat(same[kind + ' objects']), torch.cat(different[kind + ' objects'])

        def right(threshold: float, alike: Tensor = alike, other: Tensor = other) -> float:
            hits = (alike > threshold).float().mean() + (other <= threshold).float().mean()
            return hits.item() / 2

        best = max(np.arange(-0.5, 1, 0.02), key=right)
        print(
            f'{name + " " + kind:26s} | {order(alike, other):.3f} | {order(*objects):.3f} | '
            f'{right(0.2):.3f} | {right(best):.3f} at {best:.2f} | '
            f'{alike.mean():.2f} | {other.mean():.2f}',
            flush=True,
        )


def report_foreground(numbers: range, size: int) -> None:
    """Prints IoU and pixel accuracy of foreground masks."""
    found, dino = build_tiny_found()
    vit, mean, std = build_tiny_dino(dino)
    grid = size // PATCH
    masks: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for pixels, labels in scenes(numbers, size):
        truth = labels >= len(MATERIALS)
        queries, keys = last_queries_and_keys(vit, normalised(pixels, mean, std))
        maps = keys[:, :, 1:].transpose(2, 3).flatten(1, 2).unflatten(2, (grid, grid))
        one = background_mask(queries, keys)
        several = background_mask(queries, keys, tau=0.5, cover=0.65, by_region=True)
        for name, scores in (
            ('tiny FOUND', found(maps)),
            ('coarse mask, several seeds', 0.5 - several.float().view(1, 1, grid, grid)),
            ('coarse mask, one seed', 0.5 - one.float().view(1, 1, grid, grid)),
        ):
            large = F.interpolate(scores, truth.shape, mode='bilinear', align_corners=False)
            masks.setdefault(name, []).append(((large[0, 0] > 0).numpy(), truth))
        masks.setdefault('all foreground', []).append((np.ones_like(truth), truth))
        masks.setdefault('no foreground', []).append((np.zeros_like(truth), truth))
    for name, pairs in masks.items():
        common = sum((mask & truth).sum() for mask, truth in pairs)
        either = sum((mask | truth).sum() for mask, truth in pairs)
        accuracy = np.mean([(mask == truth).mean() for mask, truth in pairs])
        print(f'{name:26s} | IoU {common / either:.3f} | pixel accuracy {accuracy:.3f}')


@torch.no_grad()
def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--scenes', type=int, default=40, help='default: %(default)s')
    parser.add_argument('--first', type=int, default=0, help='number of the first scene')
    parser.add_argument('--size', type=int, default=144, help='pixels; default: %(default)s')
    args = parser.parse_args()
    numbers = range(args.first, args.first + args.scenes)
    vit, mean, std = build_tiny_dino()
    torch.manual_seed(0)
    facts, _ = read_embedded('tiny_dino_scenes', WEIGHTS, 'dino')
    untrained = VisionTransformer(**facts['model']).eval()
    print('features | AUC | AUC with objects | right at 0.2 | right at best | same | different')
    for name, features in (
        ('tiny DINO', dino_features(vit, mean, std)),
        ('untrained', dino_features(untrained, mean, std)),
        ('tiny CLIP, whole', clip_features(windows=False)),
        ('tiny CLIP, windows', clip_features(windows=True)),
    ):
        report(name, features, numbers, args.size)
    report_foreground(numbers, args.size)


if __name__ == '__main__':
    main()
