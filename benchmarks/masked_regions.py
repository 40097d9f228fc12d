"""How well a CLIP names masked regions of Scenes, adapted to them or not.

    python benchmarks/masked_regions.py [CONFIG[:CHECKPOINT] ...] [--scenes 80]

CONFIG is one of MaskAdaptation (configs/ovseg/clip_*_tiny_*), the one in a training's work folder
for its CHECKPOINT. Every class of every validation scene is a region, cut out as OVSeg's second
stage does; printed is the share of regions whose class is nearest in CLIP's space among all classes
(mask prompts are used where they were tuned), over all regions and as a mean over classes.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor

from ovseg.engine.checkpoint import load_checkpoint_strict
from ovseg.regions.region_crops import RegionSettings, crop_regions
from ovseg.registry import MODELS
from ovseg.scenes.datasets import CLASSES, class_labels
from ovseg.scenes.draw import draw, whole
from ovseg.scenes.world import sample_scene
from ovseg.training import MaskAdaptation

PLAIN = 'configs/ovseg/clip_ft_tiny_5e_scenes.py'
# CLIP's mean in whole numbers; regions stay in 0..255.
CUT = {'fill': (123, 117, 104), 'mean': (0.0, 0.0, 0.0), 'std': (1.0, 1.0, 1.0)}


def labelled_regions(scenes: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Regions (N, 3, S, S) uint8, their masks (N, 1, S, S) and classes (N,)."""
    settings = RegionSettings(size=size, **CUT)
    regions, masks, classes = [], [], []
    for number in range(scenes):
        scene = sample_scene('val', number)
        picture = draw(scene, whole(scene))
        labels = class_labels(scene, picture)
        present = np.unique(labels[labels < len(CLASSES)])
        shown = torch.from_numpy(labels[None] == present[:, None, None]).float()
        image = torch.from_numpy(picture.image.copy()).permute(2, 0, 1)
        crops = crop_regions(image, shown, settings)
        regions.append(crops.images.round().clamp(0, 255).byte())
        masks.append(crops.masks > 0)
        classes.append(torch.from_numpy(present.astype(np.int64)))
    return torch.cat(regions), torch.cat(masks), torch.cat(classes)


def build(source: str) -> MaskAdaptation:
    """The model of ``CONFIG[:CHECKPOINT]``."""
    path, _, checkpoint = source.partition(':')
    with DefaultScope.overwrite_default_scope('ovseg'):
        model = MODELS.build(Config.fromfile(path).model)
    if checkpoint:
        load_checkpoint_strict(model, checkpoint)
    return model.eval()


@torch.inference_mode()
def correct(model: MaskAdaptation, regions: Tensor, masks: Tensor, classes: Tensor) -> Tensor:
    """(N,) bool, whether the class of a region is the nearest one."""
    names = list(CLASSES)
    nouns = model(regions[:1], names, masks[:1], mode='tensor')[1]
    seen = [
        model(part, names[:1], shown, mode='tensor')[0]
        for part, shown in zip(regions.split(128), masks.split(128), strict=True)
    ]
    return (torch.cat(seen) @ nouns.T).argmax(1) == classes


def main() -> None:
    """Prints a line a model."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('models', nargs='*', default=[PLAIN], metavar='CONFIG[:CHECKPOINT]')
    parser.add_argument('--scenes', type=int, default=80)
    args = parser.parse_args()
    for source in args.models:
        model = build(source)
        side = model.clip.visual.image_size
        size = side if isinstance(side, int) else side[0]
        regions, masks, classes = labelled_regions(args.scenes, size)
        right = correct(model, regions, masks, classes).float()
        per_class = [right[classes == number].mean() for number in classes.unique()]
        print(
            f'{source}: {100 * right.mean():.1f} % of {len(right)} regions, '
            f'{100 * torch.stack(per_class).mean():.1f} % as a mean over classes'
        )


if __name__ == '__main__':
    main()
