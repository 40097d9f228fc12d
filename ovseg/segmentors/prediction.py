"""From the encoding of an image to its labels: one way for every segmentor with a vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ovseg.errors import UserError
from ovseg.scores.encoding import ImageEncoding
from ovseg.scores.pixel_stage import PixelRefiner, PixelStage, refined_strips
from ovseg.scores.test_settings import InferenceSettings
from ovseg.scores.upsample import ScoreMaps, input_rows, labels_in_strips
from ovseg.text import Classifier

# Keeps scores of a pixel without any from dividing by zero.
_TINY = 1e-12
# Below any real log-probability; keeps classes that no row stands for finite.
_SMALLEST_PROBABILITY = 1e-12


class VocabularyPrediction:
    """Mixin for mmseg segmentors: labels in strips, paddings, flips, and scores on request.

    What it asks of a segmentor: ``encode_images(inputs, originals)`` gives an
    :class:`~ovseg.scores.encoding.ImageEncoding` an image, ``score(encoding, classifier)`` its
    score maps, and ``classifier`` decides. It stands before mmseg's class in the list of bases.

    Attributes:
        inference_settings: the ``test_cfg``.
        refiners: refine scores on the encoder's grid, in order.
        pixel_refiner: refines scores at the image's own size, or None.
        reads_originals: whether ``encode_images`` wants the images at their own size, too (data
            sets: ``keep_original``).
        reads_names: whether it wants the images' file names, too.
        scores_are_probabilities: whether score maps hold probabilities instead of scores.
    """

    inference_settings: InferenceSettings
    classifier: Classifier
    device: torch.device
    refiners: Sequence[Any] = ()
    pixel_refiner: PixelRefiner | None = None
    reads_originals = False
    reads_names = False
    scores_are_probabilities = False

    def encode_image(
        self, inputs: Tensor, originals: Sequence[np.ndarray] | None = None, **beside: Any
    ) -> ImageEncoding:
        """Runs the encoder over one image.

        Args:
            inputs: (1, 3, H, W), from the data preprocessor.
            originals: see :meth:`encode_images`; one image.
            beside: what else this model's :meth:`encode_images` takes, for one image.
        """
        if len(inputs) != 1:
            raise ValueError(f'encode_image takes one image, got a batch of {len(inputs)}')
        return self.encode_images(inputs, originals, **beside)[0]

    def score_maps(
        self, encoding: ImageEncoding, classifier: Classifier, size: tuple[int, int]
    ) -> ScoreMaps:
        """Scores as they are upsampled to an image of that size; see ``test_cfg.upsampling``.

        Args:
            encoding: from :meth:`encode_image`.
            classifier: its rows are asked.
            size: (height, width) of the labels in pixels.
        """
        scores = self.score(encoding, classifier)
        if self.inference_settings.upsampling == 'direct':
            return replace(scores, boxes=[(0, 0, *size)], input_size=size)
        return scores

    def segment_encoding(
        self,
        encoding: ImageEncoding,
        original_size: tuple[int, int],
        classifier: Classifier | None = None,
        with_scores: bool = False,
        strip_megabytes: float | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Labels of an encoded image.

        Args:
            encoding: from :meth:`encode_image`.
            original_size: (height, width) of the labels in pixels.
            classifier: another one than the model's.
            with_scores: also return class probabilities; their memory grows with the classes.
            strip_megabytes: replaces the setting of ``test_cfg``.

        Returns:
            (H, W) int64 labels; with scores also (K, H, W) probabilities.
        """
        classifier = self.classifier if classifier is None else classifier.to(self.device)
        strip_bytes = int((strip_megabytes or self.inference_settings.strip_megabytes) * 2**20)
        size = tuple(original_size)
        scores = self.score_maps(encoding, classifier, size)
        stage = self.pixel_refiner and PixelStage(self.pixel_refiner, encoding.image)

        def in_strips(decide: Any, collect: Any = None) -> tuple[Tensor, Tensor | None]:
            strips = stage and refined_strips(scores, stage, size, strip_bytes)
            return labels_in_strips(scores, size, decide, strip_bytes, collect, strips)

        return self.decide_strips(classifier, in_strips, with_scores)

    def decide_strips(
        self,
        classifier: Classifier,
        in_strips: Callable[..., tuple[Tensor, Tensor | None]],
        with_scores: bool,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Labels, and class probabilities on request, by the rule of a classifier.

        Args:
            classifier: decides.
            in_strips: ``(decide, collect)`` -> labels and what was collected, as in
                :func:`~ovseg.scores.upsample.labels_in_strips`.
            with_scores: also return class probabilities.
        """
        given = self.scores_are_probabilities
        allowed = None
        if classifier.rejection.min_area > 0:
            allowed = classifier.large_classes(in_strips(classifier.best_classes)[0])

        def collect(rows: Tensor) -> Tensor:
            shares = classifier.probabilities(rows, are_probabilities=given, allowed=allowed)
            if self.inference_settings.normalize_scores:
                shares = shares / shares.sum(1, keepdim=True).clamp_min(_TINY)
            return shares

        labels, probabilities = in_strips(
            lambda rows: classifier.decide(rows, are_probabilities=given, allowed=allowed),
            collect if with_scores else None,
        )
        return (labels, probabilities) if with_scores else labels

    @torch.inference_mode()
    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Fills ``pred_sem_seg`` (1, H, W) and, if asked for, ``seg_logits`` (K, H, W).

        Args:
            inputs: (B, 3, H, W), from the data preprocessor.
            data_samples: with ``ori_shape``, and ``img_padding_size`` and ``flip`` where they
                apply; None means that the input size is the original size.
        """
        samples = data_samples or [
            SegDataSample(metainfo={'ori_shape': tuple(inputs.shape[-2:])}) for _ in inputs
        ]
        images = [
            _without_padding(image, sample) for image, sample in zip(inputs, samples, strict=True)
        ]
        beside: dict[str, list[Any]] = {}
        if self.reads_originals:
            beside['originals'] = [_original(sample) for sample in samples]
        if self.reads_names:
            beside['names'] = [_name(sample) for sample in samples]
        if len({tuple(image.shape) for image in images}) == 1:
            encodings = self.encode_images(torch.stack(images), **beside)
        else:
            encodings = [
                self.encode_image(
                    image[None], **{key: given[i : i + 1] for key, given in beside.items()}
                )
                for i, image in enumerate(images)
            ]
        for encoding, sample in zip(encodings, samples, strict=True):
            self._fill(sample, encoding)
        return samples

    def _fill(self, sample: SegDataSample, encoding: ImageEncoding) -> None:
        with_scores = self.inference_settings.save_logits
        result = self.segment_encoding(encoding, sample.ori_shape[:2], with_scores=with_scores)
        labels, probabilities = result if with_scores else (result, None)
        axes = _flipped_axes(sample)
        sample.pred_sem_seg = PixelData(data=labels.flip(axes)[None])
        if probabilities is not None:
            probabilities = probabilities.flip([axis + 1 for axis in axes])
            logits = probabilities.clamp_min(_SMALLEST_PROBABILITY).log()
            sample.seg_logits = PixelData(data=logits)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Class scores at the input size, (B, K, H, W): mmseg's name for it."""
        scores = []
        for encoding in self.encode_images(inputs):
            rows = input_rows(self.score(encoding, self.classifier), 0, encoding.input_size[0])
            scores.append(self.classifier.class_scores(rows[None]))
        return torch.cat(scores)


def drop_frozen(module: nn.Module, state: dict, prefix: str, metadata: Any) -> None:
    """Frozen towers load in the constructor; a checkpoint holds only what was trained."""
    for key in list(state):
        if key.startswith(tuple(prefix + name for name in module.frozen_prefixes)):
            del state[key]


def _flipped_axes(sample: SegDataSample) -> list[int]:
    """Axes of an (H, W) map along which the network's input was mirrored."""
    if not sample.metainfo.get('flip', False):
        return []
    direction = sample.metainfo.get('flip_direction') or 'horizontal'
    return {'vertical': [0], 'horizontal': [1], 'diagonal': [0, 1]}[direction]


def _original(sample: SegDataSample) -> np.ndarray:
    """The image at its own size, mirrored as the network's input was.

    Raises:
        UserError: the data pipeline dropped it.
    """
    if 'original_image' not in sample:
        raise UserError(
            'this model also reads images at their own size, which the data pipeline did not keep; '
            'set keep_original=True in the data set of the config'
        )
    image = np.flip(sample.original_image, _flipped_axes(sample))
    return np.ascontiguousarray(image)


def _name(sample: SegDataSample) -> str | None:
    """Path of the image.

    Raises:
        UserError: what is kept under that name is not mirrored as the network's input was.
    """
    if _flipped_axes(sample):
        raise UserError(
            'this model looks up files by the name of the image, which do not fit a mirrored one; '
            'run without test-time augmentation'
        )
    return sample.metainfo.get('img_path')


def _without_padding(image: Tensor, sample: SegDataSample) -> Tensor:
    left, right, top, bottom = sample.metainfo.get('img_padding_size', (0, 0, 0, 0))
    height, width = image.shape[-2:]
    return image[..., top : height - bottom, left : width - right]
