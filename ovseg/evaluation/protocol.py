"""The evaluation protocol: everything that has to be said for a number to have one meaning."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol, runtime_checkable

import torch
from prettytable import PrettyTable
from torch import nn

import ovseg
from ovseg.precision import precision_told

# Import name -> distributions that carry it, the maintained one first.
_PACKAGES = {
    'mmengine': ('onedl-mmengine', 'mmengine'),
    'mmcv': ('onedl-mmcv', 'mmcv', 'mmcv-lite'),
    'mmseg': ('onedl-mmsegmentation', 'mmsegmentation'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
    'open_clip': ('open_clip_torch',),
}
_HEADLINES = {
    'mIoU': 'mIoU over classes that are labelled or predicted (as mmsegmentation)',
    'mIoU_present': 'mIoU_present over classes that are labelled',
    'pixel_AUROC': 'pixel_AUROC: mean over objects of the area under the ROC of all pixels',
    'PQ': 'PQ over classes that are annotated or predicted (as panopticapi)',
    'box AP': 'box AP: mean over classes and IoU thresholds 0.50 to 0.95 (COCO)',
    'mask AP': 'mask AP: mean over classes and IoU thresholds 0.50 to 0.95 (COCO)',
}
# What a training-free segmentor's own `protocol()` says; other models leave these open.
_FROM_MODEL = {
    'mode': 'mode',
    'window': 'window',
    'stride': 'stride',
    'vocabulary': 'vocabulary',
    'templates': 'templates',
    'synonyms': 'synonyms',
    'background': 'background',
    'weights': 'weights',
}


@runtime_checkable
class _SaysProtocol(Protocol):
    def protocol(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class EvaluationProtocol:
    """How a score was made; stands beside it wherever it is printed or stored.

    Attributes:
        dataset: class of the data set.
        data: where its images are.
        images: how many images were evaluated.
        classes: how many classes compete.
        resize: the rule for the network's input.
        mode: ``whole`` image or ``slide`` (windows).
        window: (height, width) in pixels.
        stride: (height, width) in pixels.
        vocabulary: which words the classes have, ``dataset/protocol`` for a published list.
        templates: sentences that the words are put into.
        synonyms: how several words of a class combine.
        background: what "none of these" means.
        headline: which mean is reported.
        augmentation: test-time augmentation.
        precision: of the network's arithmetic.
        model: class and what it is made of.
        weights: where the weights are from.
        device: that ran it.
        versions: of the packages that decide the result.
    """

    dataset: str
    data: str
    images: int
    classes: int
    resize: str
    mode: str
    window: tuple[int, int] | None
    stride: tuple[int, int] | None
    vocabulary: str
    templates: str
    synonyms: str
    background: str
    headline: str
    augmentation: str
    precision: str
    model: dict[str, str]
    weights: str
    device: str
    versions: dict[str, str]

    @classmethod
    def describe(
        cls,
        model: nn.Module,
        dataset: Any,
        headline: str = 'mIoU',
        checkpoint: str | None = None,
        augmentation: str = 'none',
        precision: str | None = None,
        resize: str | None = None,
    ) -> EvaluationProtocol:
        """The protocol of a model on a data set, both as they were run.

        Args:
            model: the segmentor, unwrapped; what its ``protocol()`` says wins over what can be
                seen from outside.
            dataset: an mmengine data set.
            headline: ``'mIoU'``, ``'mIoU_present'``, ``'PQ'``, ``'box AP'`` or ``'mask AP'``.
            checkpoint: file or URL that was loaded.
            augmentation: what test-time augmentation did.
            precision: of the network's arithmetic; None for what the model was cast to.
            resize: the rule in words; None reads it off the data set.
        """
        said = dict(model.protocol()) if isinstance(model, _SaysProtocol) else {}
        facts = {name: said.pop(key, None) for name, key in _FROM_MODEL.items()}
        settings = getattr(model, 'test_cfg', None) or {}
        facts['mode'] = facts['mode'] or settings.get('mode', 'whole')
        for name, key in (('window', 'crop_size'), ('stride', 'stride')):
            size = facts[name] or (settings.get(key) if facts['mode'] == 'slide' else None)
            facts[name] = tuple(size) if size is not None else None
        said.setdefault('detections', _detections_of(settings))
        said.setdefault('segments', _segments_of(model, dataset))
        weights = [str(facts['weights'])] if facts['weights'] else []
        facts['weights'] = ' + '.join([*weights, *([checkpoint] if checkpoint else [])]) or 'none'
        for name in ('vocabulary', 'templates', 'synonyms', 'background'):
            facts[name] = _text(facts[name]) if facts[name] is not None else 'fixed by training'
        classes = dataset.metainfo.get('classes') or ()
        return cls(
            dataset=type(dataset).__name__,
            data=_data_of(dataset),
            images=len(dataset),
            classes=len(getattr(model, 'vocabulary', None) or classes),
            resize=resize or resize_of(dataset),
            headline=_HEADLINES[headline],
            augmentation=augmentation,
            precision=precision or precision_told(model),
            model={
                'type': type(model).__name__,
                **{key: _text(value) for key, value in said.items() if value not in (None, [], '')},
            },
            device=_device_of(model),
            versions=package_versions(),
            **facts,
        )

    def to_dict(self) -> dict[str, Any]:
        """The protocol as plain data for JSON."""
        return asdict(self)

    def table(self) -> str:
        """The protocol as text, one fact a line."""
        table = PrettyTable(['Protocol', ''])
        table.align = 'l'
        table.max_width = 90
        for name, value in self.to_dict().items():
            table.add_row([name, _text(value)])
        return table.get_string()


def package_versions() -> dict[str, str]:
    """Versions of what decides a result, by import name."""
    found = {'ovseg': ovseg.__version__, 'torch': torch.__version__}
    for name, distributions in _PACKAGES.items():
        for distribution in distributions:
            try:
                found[name] = f'{version(distribution)} ({distribution})'
                break
            except PackageNotFoundError:
                continue
    found['python'] = platform.python_version()
    return found


def _text(value: Any) -> str:
    if value is None:
        return 'none'
    if isinstance(value, Mapping):
        return ', '.join(f'{key} {_text(part)}' for key, part in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        parts = [_text(part) for part in value]
        return ' x '.join(parts) if all(isinstance(v, int) for v in value) else '; '.join(parts)
    return str(value)


def _data_of(dataset: Any) -> str:
    prefix = getattr(dataset, 'data_prefix', None) or {}
    images = prefix.get('img_path') or prefix.get('img')  # mmseg's key and mmdet's
    place = str(images or getattr(dataset, 'data_root', None) or 'generated')
    # A folder of detection data says nothing about which part of it was evaluated.
    objects = getattr(dataset, 'ann_file', None) if prefix.get('img') else None
    return f'{place}, objects of {objects}' if objects else place


def _detections_of(settings: Mapping[str, Any]) -> str | None:
    """Which detections of an image count, from a detector's ``test_cfg``."""
    rule = settings.get('rcnn') or settings
    if rule.get('max_per_img') is None:
        return None
    nms = rule.get('nms') or {}
    return (
        f'{rule["max_per_img"]} an image at most, score above {rule.get("score_thr", 0)}, '
        f'{nms.get("type", "no nms")} at IoU {nms.get("iou_threshold", "-")}'
    )


def _segments_of(model: nn.Module, dataset: Any) -> str | None:
    """Which masks became segments, where the data set asked for some."""
    rule = getattr(model, 'segment_settings', None)
    if rule is None or 'thing_classes' not in dataset.metainfo:
        return None
    return _text(asdict(rule))


def resize_of(dataset: Any) -> str:
    """The resize rule of a data set in words.

    Args:
        dataset: a data set of ovseg's, or one with its rule in the pipeline; or its config.
    """
    is_config = isinstance(dataset, Mapping)
    rule = dataset.get('resize') if is_config else getattr(dataset, 'resize', None)
    if rule is not None:
        return _text({key: value for key, value in rule.items() if key != 'type'})
    pipeline = dataset.get('pipeline') if is_config else getattr(dataset, 'pipeline', None)
    for step in getattr(pipeline, 'transforms', pipeline) or ():
        if isinstance(step, Mapping) and 'Resize' in str(step.get('type')):
            return _text({key: value for key, value in step.items() if key != 'type'})
        if 'Resize' in type(step).__name__:
            names = ('scale', 'scale_factor', 'keep_ratio')
            values = {name: getattr(step, name, None) for name in names}
            return _text({name: value for name, value in values.items() if value is not None})
    return 'none'


def _device_of(model: nn.Module) -> str:
    parameter = next(model.parameters(), None)
    if parameter is not None and parameter.is_cuda:
        return torch.cuda.get_device_name(parameter.device)
    return 'CPU'
