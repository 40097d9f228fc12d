"""What light trainings give on Scenes: each kind beside zero-shot, seen and unseen classes apart.

A seed has training scenes of its own and an order of its own; all are tested on the same scenes of
which a training sees none. Six of the seventeen classes are in no training scene. Run:

    python benchmarks/light_training.py --seeds 3 --scenes 200 --test-scenes 40
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor

from ovseg.config_files import read_config
from ovseg.engine import OVRunner
from ovseg.evaluation.areas import Areas, count_areas
from ovseg.images import Images
from ovseg.registry import DATASETS
from ovseg.segmentors import LightlyTrained
from ovseg.tables import text_table

KINDS = {
    'rows, held by 10': ('rows', {'hold': 10.0}),
    'rows, held by 100': ('rows', {'hold': 100.0}),
    'shared contexts': ('contexts', {}),
    'contexts a class': ('class_contexts', {}),
    'CLIP-Adapter': ('features', {}),
    'VDT-Adapter': ('sentences', {}),
}


def trained(
    kind: str, changes: dict, seed: int, scenes: int, folder: str
) -> tuple[LightlyTrained, float]:
    """A model after its training, and the seconds that it took with its features at hand."""
    config: Config = read_config(f'{kind}_tiny_scenes.py')
    config.model.learner.update(changes)
    config.train_dataloader.dataset.update(seed=seed, num_scenes=scenes)
    config.randomness.seed = seed
    config.work_dir, config.log_level = folder, 'WARNING'
    config.experiment_name = f'{kind}-{seed}-{time.monotonic_ns()}'
    with DefaultScope.overwrite_default_scope('ovseg'):
        runner = OVRunner.from_cfg(config)
        started = time.perf_counter()
        runner.train()
    return runner.segmentor.eval(), time.perf_counter() - started


@torch.inference_mode()
def ious(model: LightlyTrained, encoded: list[tuple], frozen: bool = False) -> Tensor:
    """IoU (K,) of the classes in percent.

    Args:
        model: any that was trained.
        encoded: encodings and labels of the test scenes.
        frozen: without what was learned.
    """
    zero_shot = model.learner.teachings.zero_shot(model.learned_for)
    counts = []
    for encoding, labels in encoded:
        moved = encoding if frozen else model.moved(encoding)
        size = (labels.shape[0], labels.shape[1])
        found = model.segment(moved, size, zero_shot if frozen else None).labels
        counts.append(count_areas(found, labels, len(model.learned_for)))
    return 100 * Areas(*torch.stack(counts).sum(0)).iou


def compare(args: argparse.Namespace, folder: str) -> None:
    """Trains and tests all kinds.

    Args:
        args: the command line.
        folder: for checkpoints and logs.
    """
    config = read_config('rows_tiny_scenes.py')
    data = DATASETS.build({**config.test_dataloader.dataset, 'num_scenes': args.test_scenes})
    unseen = [config.words.index(name) for name in config.unseen]
    seen = [index for index in range(len(config.words)) if index not in unseen]
    encoded: list[tuple] = []
    found: dict[str, list[tuple[float, ...]]] = {}
    for name, (kind, changes) in KINDS.items():
        for seed in range(args.seeds):
            model, seconds = trained(kind, changes, seed, args.scenes, folder)
            if not encoded:
                encoded = list(_encoded(model, data))
                zero = ious(model, encoded, frozen=True)
                found['zero-shot'] = [_means(zero, seen, unseen)]
            found.setdefault(name, []).append(
                (*_means(ious(model, encoded), seen, unseen), seconds)
            )
            print(name, seed, *(f'{value:.1f}' for value in found[name][-1]), flush=True)
    rows = [(name, *map(_told, zip(*values, strict=True))) for name, values in found.items()]
    rows = [(*row, *('',) * (5 - len(row))) for row in rows]
    print(text_table(('', 'all', 'seen', 'unseen', 'seconds'), rows, left=1))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--scenes', type=int, default=200, help='of a training')
    parser.add_argument('--test-scenes', type=int, default=40)
    parser.add_argument('--threads', type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        compare(args, folder)


def _encoded(model: LightlyTrained, data: torch.utils.data.Dataset):  # type: ignore[no-untyped-def]
    for index in range(len(data)):  # type: ignore[arg-type]  # ours have a length
        sample = data[index]
        batch = {'inputs': [sample['inputs']], 'data_samples': [sample['data_samples']]}
        inputs = model.data_preprocessor(batch, False)['inputs']
        with torch.inference_mode():
            (encoding,) = model.encode_frozen(Images(inputs))
        yield encoding, sample['data_samples'].gt_sem_seg.data[0]


def _means(values: Tensor, seen: list[int], unseen: list[int]) -> tuple[float, ...]:
    return tuple(float(values[part].nanmean()) for part in (seen + unseen, seen, unseen))


def _told(values: tuple[float, ...]) -> str:
    spread = f' ± {statistics.stdev(values):.1f}' if len(values) > 1 else ''
    return f'{statistics.mean(values):.1f}{spread}'


if __name__ == '__main__':
    main()
