"""How many labels of the shipped models move in another precision, and what mIoU that leaves.

Each model labels the same scenes twice, first in float32. Run:

    python benchmarks/precision_labels.py --scenes 60
    python benchmarks/precision_labels.py --scenes 12 --models proxyclip/proxyclip_tiny
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import torch
from mmengine.registry import DefaultScope
from torch import Tensor

from ovseg.apis.building import build_model
from ovseg.config_files import read_config
from ovseg.evaluation.areas import Areas, count_areas, summarise
from ovseg.precision import set_precision
from ovseg.registry import DATASETS
from ovseg.segmentors.base import Segmentor
from ovseg.tables import text_table

MODELS = (
    *('clip/clip_tiny', 'maskclip/maskclip_tiny', 'sclip/sclip_tiny', 'clearclip/clearclip_tiny'),
    *('naclip/naclip_tiny', 'resclip/resclip_tiny', 'denseclip/denseclip_fpn_tiny_scenes'),
    *('ovseg/ovseg_tiny', 'clip_dinoiser/clip_dinoiser_tiny', 'proxyclip/proxyclip_tiny'),
    'trident/trident_tiny',
)


def predictions(
    model: Segmentor, data: torch.utils.data.Dataset
) -> Iterator[tuple[Tensor, Tensor]]:
    """Predicted and true labels (H, W) of each scene.

    Args:
        model: has its words.
        data: scenes with labels.
    """
    for index in range(len(data)):  # type: ignore[arg-type]  # ours have a length
        sample = data[index]
        batch = {'inputs': [sample['inputs']], 'data_samples': [sample['data_samples']]}
        (result,) = model.predict(**model.data_preprocessor(batch, False))
        yield result.pred_sem_seg.data[0], result.gt_sem_seg.data[0]


def compare(name: str, scenes: int, precision: str) -> tuple[str, ...]:
    """A row of the table.

    Args:
        name: of a config, below ``configs/``.
        scenes: how many.
        precision: beside float32.
    """
    config = read_config(f'{name}.py', 'scenes')
    model = build_model(config).eval()
    with DefaultScope.overwrite_default_scope('ovseg'):
        data = DATASETS.build({**config.test_dataloader.dataset, 'num_scenes': scenes})
    found, seconds = [], []
    for each in ('float32', precision):
        set_precision(model, each)
        start = time.process_time()
        found.append(list(predictions(model, data)))
        seconds.append((time.process_time() - start) / scenes)
    moved = [
        100 * float((exact != rounded).float().mean())
        for (exact, _), (rounded, _) in zip(*found, strict=True)
    ]
    scores = [
        summarise(
            Areas(
                *count_areas(
                    torch.stack([labels for labels, _ in half]),
                    torch.stack([truth for _, truth in half]),
                    model.num_classes,
                )
            )
        )['mIoU']
        for half in found
    ]
    return (
        name.rpartition('/')[2],
        f'{scores[0]:.2f}',
        f'{scores[1]:.2f}',
        f'{scores[1] - scores[0]:+.2f}',
        f'{sum(moved) / scenes:.3f} %',
        f'{max(moved):.3f} %',
        f'{seconds[0]:.2f}',
        f'{seconds[1]:.2f}',
    )


def main() -> None:
    """Print the table, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--scenes', type=int, default=60, help='default: %(default)s')
    parser.add_argument('--precision', default='bfloat16', help='default: %(default)s')
    parser.add_argument('--models', nargs='+', default=MODELS, help='configs below configs/')
    args = parser.parse_args()
    header = (
        'model',
        'float32',
        args.precision,
        'change',
        'labels moved',
        'of one scene',
        's',
        's',
    )
    rows = []
    for name in args.models:
        rows.append(compare(name, args.scenes, args.precision))
        print(*rows[-1], sep=' | ', flush=True)
    print('\n' + text_table(header, rows))


if __name__ == '__main__':
    main()
