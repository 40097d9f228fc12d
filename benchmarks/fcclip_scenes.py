"""FC-CLIP and MAFT+ on Scenes: mIoU and PQ on seen and unseen classes, with and without branches.

    python benchmarks/fcclip_scenes.py
    python benchmarks/fcclip_scenes.py iter_1200.pth --clip my_convnext_clip.safetensors
    python benchmarks/fcclip_scenes.py iter_1200.pth --config maftplus_tiny

Each picture is encoded once and asked with several ensembles. The numbers are those of
``tools/test.py --on scenes`` and ``--on scenes_panoptic`` with the same settings.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData

from ovseg.config_files import read_config
from ovseg.engine.checkpoint import load_checkpoint_strict
from ovseg.regions.mask_segments import Segments
from ovseg.registry import DATASETS, METRICS, MODELS
from ovseg.segmentors import FCCLIP, MAFTPlus
from ovseg.segmentors.samples import batches_of
from ovseg.weight_files import find_weights

ENSEMBLES: dict[str, dict[str, Any]] = {
    'both': {},
    'decoder alone': {'weight': 0.0, 'unseen_weight': 0.0},
    'CLIP alone': {'weight': 1.0, 'unseen_weight': 1.0},
}
_SCORES = {
    'OVIoUMetric': ('mIoU', 'mIoU_seen', 'mIoU_unseen'),
    'PanopticQualityMetric': ('PQ', 'PQ_things', 'PQ_stuff', 'PQ_seen', 'PQ_unseen'),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints a table in Markdown.

    Args:
        argv: the words; None for the process's own.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('checkpoint', nargs='?', help='of the decoder; by default what ships')
    parser.add_argument('--clip', help='the exported CLIP of its training; by default what ships')
    parser.add_argument('--config', default='fcclip_tiny')
    parser.add_argument('--scenes', type=int, default=60, help='of the validation split')
    args = parser.parse_args(argv)
    config = read_config(args.config, on='scenes_panoptic')
    if args.clip is not None:
        config.model.clip.pretrained = args.clip
    with DefaultScope.overwrite_default_scope('ovseg'):
        model = MODELS.build(config.model).eval()
        data = config.test_dataloader.dataset
        data.num_scenes = args.scenes
        data.pipeline.insert(-1, {'type': 'LoadSceneLabels'})
        dataset = DATASETS.build(data)
    checkpoint = args.checkpoint or config.load_from
    if checkpoint is None:
        parser.error(f'no weights of {args.config} ship; give a checkpoint')
    load_checkpoint_strict(model, find_weights(checkpoint))
    names = list(_SCORES['OVIoUMetric'] + _SCORES['PanopticQualityMetric'])
    print(f'| {args.scenes} val scenes | {" | ".join(names)} |\n|---{"|---" * len(names)}|')
    for title, scores in measure(model, dataset, config.test_evaluator[0].groups).items():
        print(f'| {title} | {" | ".join(f"{scores[name]:.1f}" for name in names)} |')


@torch.no_grad()
def measure(
    model: FCCLIP, dataset: Any, groups: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, float]]:
    """Scores in percent by the name of an ensemble.

    Args:
        model: with the words of the data set; MAFT+ has one way of naming masks only.
        dataset: scenes with labels and segments.
        groups: class names by group.
    """
    published = model.ensemble
    ways: dict[str, dict[str, Any]] = {'MAFT+': {}} if isinstance(model, MAFTPlus) else ENSEMBLES
    metrics = {
        title: [METRICS.build({'type': kind, 'groups': groups}) for kind in _SCORES]
        for title in ways
    }
    for metric in (each for pair in metrics.values() for each in pair):
        metric.dataset_meta = dataset.metainfo
    for number in range(len(dataset)):
        batch = model.data_preprocessor(pseudo_collate([dataset[number]]), False)
        (sample,) = batch['data_samples']
        (images,) = batches_of(batch['inputs'], [sample], model.reads)
        (encoding,) = model.encode(images)
        size = sample.ori_shape[:2]
        for title, change in ways.items():
            model.ensemble = replace(published, **change)
            labels = model.segment(encoding, size).labels
            sample.pred_sem_seg = PixelData(data=labels[None])
            segments = model.find_segments(encoding, size, stuff=sample.stuff_labels)
            sample.set_field(segments, 'pred_segments', dtype=Segments)
            for metric in metrics[title]:
                metric.process(None, [sample.to_dict()])
    model.ensemble = published
    found: dict[str, dict[str, float]] = {}
    for title, pair in metrics.items():
        found[title] = {}
        for metric in pair:
            found[title] |= metric.evaluate(len(dataset))
    return found


if __name__ == '__main__':
    main()
