"""How good the masks of a tiny SAM are, and how well it knows how good they are.

    python benchmarks/mask_prompts.py [--scenes 40] [--first 0] [--size 144] [--split val]

Every object and every connected region of a material of each scene is asked for through
segment-anything's own SamPredictor:

- point: a random pixel of it, three masks, the one with the highest predicted IoU;
- point, best of three: the same, the mask with the highest true IoU;
- point and two corrections: then twice a random pixel of what is wrong, one mask;
- box: its bounding box, one mask; rough box: each side moved by 10 % of the box's size (normal);
- coarse prompt: what Trident asks with: box, point and weak mask prompt of a coarse mask;
- coarse mask: that coarse mask itself, for comparison.

Printed are the mean IoU with the true mask at the picture's size (of all, of objects, of
materials), the mean error and the correlation of the predicted IoU, and how many masks are
predicted above 0.8, with the true IoU of these and of the others. At last, how much of the last
block's attention stays within the object or region of a patch (patches at least 90 % one of them,
mean over heads), and how much would if it were spread evenly.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from segment_anything import SamPredictor
from torch import Tensor, nn

from ovseg.encoders.tiny_sam import build_tiny_sam
from ovseg.scenes.draw import draw, whole
from ovseg.scenes.masks import part_masks
from ovseg.scenes.world import CANVAS, MATERIALS, sample_scene
from ovseg.training.losses import mask_iou
from ovseg.training.mask_prompts import (
    Prompts,
    boxes_around,
    coarse_prompts,
    error_points,
    noised_boxes,
    random_points,
)
from ovseg.weight_files import WEIGHTS

CONFIDENT = 0.8
PURE = 0.9


def shares(masks: Tensor, side: int) -> Tensor:
    """Returns (M, side, side) float: how much of each larger or smaller pixel is the mask's."""
    maps = [
        cv2.resize(mask.numpy().astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
        for mask in masks
    ]
    return torch.from_numpy(np.stack(maps))


def attention_within_parts(
    predictor: SamPredictor, image: np.ndarray, masks: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns how much of the last block's attention goes to a patch's own part.

    The attention is run with indicators of the parts in place of its values: what it gives is
    then the attention on each part.

    Args:
        predictor: its picture is replaced.
        image: (S, S, 3) uint8 RGB, a square.
        masks: (M, S, S) bool, the parts; M at most the width of a head.

    Returns:
        For n patches that are at least 90 % one part: its number (n,), the attention on it (n,),
        and its share of the picture (n,).
    """
    encoder = predictor.model.image_encoder
    attention = encoder.blocks[-1].attn
    parts = shares(masks, predictor.model.prompt_encoder.image_embedding_size[0])
    seen: list[Tensor] = []

    def indicate(_: nn.Module, __: tuple, qkv: Tensor) -> Tensor:
        width = qkv.shape[-1] // 3
        values = qkv.new_zeros(*qkv.shape[:-1], attention.num_heads, width // attention.num_heads)
        values[..., : len(parts)] = parts.permute(1, 2, 0)[None, :, :, None]
        return torch.cat([qkv[..., : 2 * width], values.flatten(-2)], -1)

    hooks = [
        attention.qkv.register_forward_hook(indicate),
        attention.proj.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])),
    ]
    predictor.set_image(image)
    for hook in hooks:
        hook.remove()
    on_parts = seen[0].unflatten(-1, (attention.num_heads, -1)).mean(-2)[0].flatten(0, 1)
    most, number = parts.flatten(1).max(0)
    pure = most >= PURE
    on_own = on_parts.gather(1, number[:, None])[:, 0]
    return number[pure], on_own[pure], parts.mean((1, 2))[number[pure]]


def ask(predictor: SamPredictor, prompts: Prompts, several: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Returns masks (M, K, H, W) bool, predicted IoU (M, K) and low-resolution logits."""
    return predictor.predict_torch(
        prompts.points, prompts.labels, prompts.boxes, prompts.masks, multimask_output=several
    )


def results_of_scene(
    predictor: SamPredictor, masks: Tensor, generator: torch.Generator
) -> Iterator[tuple[str, Tensor, Tensor | None]]:
    """Yields for each way of asking its name, true IoU (M,) and predicted IoU (M,) if any.

    Args:
        predictor: knows the picture.
        masks: (M, H, W) bool at the picture's size.
        generator: draws the prompts.
    """
    frame = predictor.model.image_encoder.img_size
    grid = predictor.model.prompt_encoder.mask_input_size[0]
    stride = frame // grid
    small = shares(masks, grid) >= 0.5
    ones = torch.ones(len(masks), 1, dtype=torch.long)
    first = Prompts(random_points(small, stride, generator)[:, None], ones)
    found, predicted, logits = ask(predictor, first, several=True)
    iou = mask_iou(found, masks[:, None])
    rows, best = torch.arange(len(masks)), predicted.argmax(1)
    yield 'point', iou[rows, best], predicted[rows, best]
    yield 'point, best of three', iou.amax(1), None
    prompts, logits = first, logits[rows, best][:, None]
    for _ in range(2):
        points, labels = error_points(logits[:, 0] > 0, small, stride, generator)
        prompts = prompts.with_points(points, labels, logits)
        found, predicted, logits = ask(predictor, prompts, several=False)
    yield 'point and two corrections', mask_iou(found[:, 0], masks), predicted[:, 0]
    boxes = boxes_around(small, stride)
    rough = noised_boxes(boxes, 0.1, frame, (frame, frame), generator)
    for name, asked in (
        ('box', Prompts(boxes=boxes)),
        ('rough box', Prompts(boxes=rough)),
    ):
        found, predicted, _ = ask(predictor, asked, several=False)
        yield name, mask_iou(found[:, 0], masks), predicted[:, 0]
    coarse, area = coarse_prompts(small, stride, generator=generator)
    found, predicted, _ = ask(predictor, coarse, several=False)
    yield 'coarse prompt', mask_iou(found[:, 0], masks), predicted[:, 0]
    yield 'coarse mask', mask_iou(area, small), None


@torch.no_grad()
def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--scenes', type=int, default=40, help='default: %(default)s')
    parser.add_argument('--first', type=int, default=0, help='number of the first scene')
    parser.add_argument('--size', type=int, default=144, help='pixels; default: %(default)s')
    parser.add_argument('--split', default='val', help='of Scenes; default: %(default)s')
    parser.add_argument('--name', default='tiny_sam_scenes', help='default: %(default)s')
    parser.add_argument('--folder', type=Path, default=WEIGHTS, help="the package's own by default")
    args = parser.parse_args()
    predictor = SamPredictor(build_tiny_sam(args.name, args.folder))
    generator = torch.Generator().manual_seed(0)
    collected: dict[str, list[tuple[Tensor, Tensor | None, Tensor]]] = {}
    attended: list[tuple[Tensor, Tensor, Tensor]] = []
    for number in range(args.first, args.first + args.scenes):
        scene = sample_scene(args.split, number)
        picture = draw(scene, whole(scene, args.size / CANVAS))
        masks = torch.from_numpy(part_masks(picture.owner))
        objects = torch.tensor([int(picture.owner[mask].min()) >= len(MATERIALS) for mask in masks])
        part, on_own, share = attention_within_parts(predictor, picture.image, masks)
        attended.append((objects[part], on_own, share))
        predictor.set_image(picture.image)
        for name, iou, predicted in results_of_scene(predictor, masks, generator):
            collected.setdefault(name, []).append((iou, predicted, objects))
    print(
        'asked by | IoU | objects | materials | error of predicted IoU | correlation | '
        f'predicted above {CONFIDENT} | IoU of these | IoU of the others'
    )
    for name, parts in collected.items():
        iou = torch.cat([part[0] for part in parts])
        objects = torch.cat([part[2] for part in parts])
        means = (part.mean() for part in (iou, iou[objects], iou[~objects]))
        row = ' | '.join([f'{name:26s}', *(f'{mean:.3f}' for mean in means)])
        if parts[0][1] is not None:
            predicted = torch.cat([part[1] for part in parts])
            sure = predicted > CONFIDENT
            row += (
                f' | {(predicted - iou).abs().mean():.3f}'
                f' | {torch.corrcoef(torch.stack([predicted, iou]))[0, 1]:.2f}'
                f' | {sure.float().mean():.2f} | {iou[sure].mean():.3f} | {iou[~sure].mean():.3f}'
            )
        print(row)
    objects, on_own, share = (torch.cat(parts) for parts in zip(*attended, strict=True))
    for name, chosen in (('objects', objects), ('materials', ~objects)):
        print(
            f'last attention within {name}: {on_own[chosen].mean():.3f} '
            f'(evenly spread: {share[chosen].mean():.3f})'
        )


if __name__ == '__main__':
    main()
