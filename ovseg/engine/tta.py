"""Test-time augmentation: the mean of class probabilities over versions of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ovseg.errors import UserError
from ovseg.images.pipeline import is_resize, resize_step
from ovseg.registry import MODELS

RATIOS = (0.75, 1.0, 1.25)
_LABEL_LOADERS = ('LoadSegLabels', 'LoadAnnotations')


@MODELS.register_module()
class OVSegTTA(BaseTTAModel):
    """Predicts each version of an image and decides on the mean of their class probabilities.

    mmseg's wrapper keeps the scores of all versions until the last one; this one keeps a running
    sum. Threshold and margin of the vocabulary's rejection rule, if any, are applied to the
    mean; what an image as a whole cannot have is taken out of each version.

    Args:
        module: the segmentor, or its config; mmseg's models and the training-free ones give the
            ``seg_logits`` that are needed.
        data_preprocessor: of the segmentor's config, as in mmengine.
    """

    def __init__(self, module: nn.Module | dict, data_preprocessor: dict | None = None) -> None:
        # Not above: what segmentors are made of reads its checkpoints by this package.
        from ovseg.segmentors.base import Segmentor

        super().__init__(module, data_preprocessor)
        rule = getattr(getattr(self.module, 'vocabulary', None), 'rejection', None)
        if rule is not None and rule.energy is not None:
            raise UserError(
                'test-time augmentation averages probabilities, which tell no energies: take a '
                'threshold or a margin to reject by'
            )
        # Ours give logarithms of probabilities, on request.
        self._are_log_probabilities = isinstance(self.module, Segmentor)

    def test_step(self, data: dict[str, Sequence]) -> list[SegDataSample]:
        """Predictions of a batch.

        Args:
            data: ``inputs`` and ``data_samples``, each a list over versions of lists over images.
        """
        sums: list[Tensor] = []
        samples: list[SegDataSample] = []
        versions, images = len(data['inputs']), len(data['inputs'][0])
        if any(len({image.shape for image in version}) > 1 for version in data['inputs']):
            # Images of several sizes: their versions do not go through a network together.
            return [sample for i in range(images) for sample in self.test_step(_one_of(data, i))]
        if versions == 1:
            # Nothing to average: the model's own decision, with all that it does after its scores.
            samples = self.module.test_step({name: values[0] for name, values in data.items()})
            for sample in samples:
                if 'seg_logits' in sample:
                    del sample.seg_logits
            return samples
        for version in range(versions):
            batch = {name: values[version] for name, values in data.items()}
            predictions = self._predict(batch)
            parts = [self._probabilities(sample) for sample in predictions]
            if version == 0:
                sums, samples = parts, predictions
            else:
                sums = [total.add_(part) for total, part in zip(sums, parts, strict=True)]
                samples = [
                    kept if _has_plain_labels(kept) or not _has_plain_labels(other) else other
                    for kept, other in zip(samples, predictions, strict=True)
                ]
        for sample, total in zip(samples, sums, strict=True):
            labels = self._decide(total.div_(versions))
            sample.set_data({'pred_sem_seg': PixelData(data=labels[None])})
            del sample.seg_logits
        return samples

    def _predict(self, batch: dict[str, Sequence]) -> list[SegDataSample]:
        """One version's predictions with their scores."""
        if not self._are_log_probabilities:
            return self.module.test_step(batch)
        data = self.module.data_preprocessor(batch, False)
        return self.module.predict(data['inputs'], data['data_samples'], keep_scores=True)

    def merge_preds(self, data_samples_list: Sequence[Sequence[SegDataSample]]) -> list:
        """Merges predictions of versions, for callers of mmengine's interface.

        Args:
            data_samples_list: for each image its versions' samples.
        """
        merged = []
        for versions in data_samples_list:
            mean = torch.stack([self._probabilities(sample) for sample in versions]).mean(0)
            sample = versions[0]
            sample.set_data({'pred_sem_seg': PixelData(data=self._decide(mean)[None])})
            merged.append(sample)
        return merged

    def _probabilities(self, sample: SegDataSample) -> Tensor:
        """Class probabilities (K, H, W), float32; a single class stands for itself."""
        logits = sample.seg_logits.data.float()
        if self._are_log_probabilities:
            return logits.exp()
        return logits.sigmoid() if len(logits) == 1 else logits.softmax(0)

    def _decide(self, probabilities: Tensor) -> Tensor:
        """Labels (H, W) int64 of probabilities (K, H, W), by the model's rejection rule."""
        if len(probabilities) == 1 and not self._are_log_probabilities:
            threshold = getattr(getattr(self.module, 'decode_head', None), 'threshold', None)
            return (probabilities[0] > (0.5 if threshold is None else threshold)).long()
        best, labels = probabilities.max(0)
        vocabulary = getattr(self.module, 'vocabulary', None)
        if vocabulary is None or vocabulary.background_index is None:
            return labels
        rule = vocabulary.rejection
        is_rejected = best < rule.threshold
        if rule.margin > 0 and len(probabilities) > 1:
            first, second = probabilities.topk(2, dim=0).values
            is_rejected |= first - second < rule.margin
        if rule.contrast_margin > 0:
            of_words = probabilities[vocabulary.background_index]
            is_rejected |= best - of_words < rule.contrast_margin
        return labels.masked_fill(is_rejected, vocabulary.background_index)


def _one_of(data: Mapping[str, Sequence], position: int) -> dict[str, Sequence]:
    """All versions of one image of a batch."""
    return {
        name: [version[position : position + 1] for version in versions]
        for name, versions in data.items()
    }


def _has_plain_labels(sample: SegDataSample) -> bool:
    """Whether labels are as in the data set; some pipelines resize and flip them with the image."""
    if 'gt_sem_seg' not in sample:
        return True
    is_flipped = sample.metainfo.get('flip', False)
    size = tuple(sample.ori_shape[:2])
    # Labels that load after the flip are never flipped, but then the first version serves already.
    return not is_flipped and tuple(sample.gt_sem_seg.data.shape[-2:]) == size


def augmented_pipeline(
    pipeline: Sequence[Mapping[str, Any]],
    resize: Mapping[str, Any] | None = None,
    ratios: Sequence[float] = RATIOS,
    keep_original: bool = False,
    flip: bool = True,
) -> list[dict[str, Any]]:
    """A test pipeline that gives every image at several sizes, each also mirrored.

    Args:
        pipeline: of the config; its first step loads the image and its last one packs.
        resize: the data set's rule, if it does not stand in the pipeline.
        ratios: of the protocol's size.
        keep_original: whether the image goes along at its own size, as the data set would have it.
        flip: whether to mirror.

    Raises:
        UserError: the sizes cannot be derived, or there is no step that packs.
    """
    steps = [dict(step) for step in pipeline]
    rules = [step for step in steps if is_resize(step)]
    rule = resize_step(resize) if resize else (rules[0] if rules else None)
    if len(steps) < 2 or not steps[-1]['type'].startswith('Pack'):
        raise UserError(
            '--tta needs a test pipeline that loads first and packs last, or tta_pipeline'
        )
    loaders = [step for step in steps if step['type'] in _LABEL_LOADERS]
    between = [step for step in steps[1:-1] if step not in rules and step not in loaders]
    packing = {**steps[-1], 'type': 'PackWithOriginal'} if keep_original else steps[-1]
    return [
        steps[0],
        *([{'type': 'KeepOriginalImage'}] if keep_original else []),
        {
            'type': 'TestTimeAug',
            'transforms': [
                [_scaled(rule, ratio) for ratio in ratios],
                [
                    {'type': 'RandomFlip', 'prob': prob, 'direction': 'horizontal'}
                    for prob in ((0.0, 1.0) if flip else (0.0,))
                ],
                # Labels load after the flip: predictions are turned back before they are compared.
                *([step] for step in (*between, *loaders)),
                [packing],
            ],
        },
    ]


def _scaled(rule: Mapping[str, Any] | None, ratio: float) -> dict[str, Any]:
    if rule is None:
        return {'type': 'Resize', 'scale_factor': ratio, 'keep_ratio': True}
    if rule.get('scale') is not None:
        return {**rule, 'scale': tuple(round(side * ratio) for side in rule['scale'])}
    if rule.get('scale_factor') is not None:
        return {**rule, 'scale_factor': rule['scale_factor'] * ratio}
    raise UserError(
        f'--tta cannot scale the resize rule {dict(rule)}; write a tta_pipeline into the config'
    )
