"""Trident: CLIP's features mixed by DINO in windows, spliced, aggregated by SAM, refined by SAM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders import CLIPViTEncoder, DenseFeatures
from ovseg.encoders.companions import Companion
from ovseg.encoders.sam import load_sam
from ovseg.encoders.sam_encoder import SAMEncoder, SAMFrame, resize_to_multiple
from ovseg.encoders.sam_image import SAMImage
from ovseg.errors import UserError
from ovseg.guides.proxy import ProxyAttention, mean_similarity
from ovseg.guides.sam_correlation import Aggregated, SAMCorrelation, aggregate
from ovseg.images.windows import Box, cut_windows, whole_patches, window_boxes
from ovseg.refiners.sam_prompts import CoarseScores, SAMPrompts
from ovseg.registry import MODELS, build_part
from ovseg.scores.encoding import ImageEncoding
from ovseg.scores.splicing import join_windows
from ovseg.scores.upsample import ScoreMaps, output_rows
from ovseg.segmentors.training_free import TrainingFreeSegmentor
from ovseg.settings import read_settings
from ovseg.text import Classifier


@dataclass(frozen=True)
class TridentEncoding(ImageEncoding):
    """An encoded image, with what SAM's mask decoder needs of it.

    Attributes:
        sam: SAM's embedding of the image; None without refinement.
    """

    sam: SAMImage | None = None


@MODELS.register_module()
class Trident(TrainingFreeSegmentor):
    """Segments by three frozen models: CLIP knows the words, DINO and SAM what belongs together.

    Args:
        clip: as in the parent; a ViT.
        companion: config of a :class:`~ovseg.encoders.companions.Companion` on a patch grid, such
            as ``dict(type='DINOCompanion', model='dino_vitb16')``.
        sam: arguments of :func:`~ovseg.encoders.sam.load_sam`, and ``block_megabytes`` of
            :class:`~ovseg.encoders.sam_encoder.SAMEncoder`.
        proxy: fields of :class:`~ovseg.guides.proxy.ProxyAttention`.
        correlation: fields of :class:`~ovseg.guides.sam_correlation.SAMCorrelation`.
        sam_columns: in how many parts, side by side, SAM sees an image; published 2 for Cityscapes,
            whose images are twice as wide as high.
        refinement: fields of :class:`~ovseg.refiners.sam_prompts.SAMPrompts`, or None for none.
        encoder: as in the parent; its last block stays out.
        test_cfg: as in the parent; ``mode='splice'``, crop and stride multiples of CLIP's patch.
        kwargs: as in the parent.

    Raises:
        UserError: settings that do not fit each other, with the config key.

    Source: Trident (arXiv 2411.09219).
    """

    reads_originals = True
    frozen_prefixes = ('clip.', 'encoder.', 'companion.', 'sam.')

    def __init__(
        self,
        clip: Mapping[str, Any],
        companion: Mapping[str, Any],
        sam: Mapping[str, Any],
        proxy: Mapping[str, Any] | None = None,
        correlation: Mapping[str, Any] | None = None,
        sam_columns: int = 1,
        refinement: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(clip=clip, **kwargs)
        self.companion: Companion = build_part(companion)
        sam = dict(sam)
        blocks = {'block_megabytes': sam.pop('block_megabytes')} if 'block_megabytes' in sam else {}
        self.sam = SAMEncoder(load_sam(**sam), **blocks)
        self.proxy = read_settings(ProxyAttention, proxy, 'model.proxy')
        self.correlation = read_settings(SAMCorrelation, correlation, 'model.correlation')
        self.sam_columns = sam_columns
        self.refinement: SAMPrompts | None = (
            None if refinement is None else build_part({'type': 'SAMPrompts', **refinement})
        )
        self._check_settings()

    def _check_settings(self) -> None:
        if not isinstance(self.encoder, CLIPViTEncoder):
            raise UserError('Trident needs a CLIP with a vision transformer; choose a ViT')
        if self.companion.stride is None:
            raise UserError(
                f'model.companion of Trident needs a patch grid, which {self.companion} has not; '
                'choose a DINO'
            )
        if self.sam_columns < 1:
            raise UserError(f'model.sam_columns must be at least 1, got {self.sam_columns}')
        if self.guide is not None or self.pixel_refiner is not None:
            raise UserError(
                'Trident brings its own guides and refinement; remove model.guide and '
                'model.pixel_refiner'
            )
        settings, patch = self.inference_settings, self.encoder.stride
        if settings.mode != 'splice' or any(
            length % side for length, side in zip(settings.crop_size, patch, strict=True)
        ):
            raise UserError(
                "Trident needs test_cfg.mode='splice' with a crop_size that is a multiple of "
                f"CLIP's patch {patch}, got mode='{settings.mode}' and {settings.crop_size}"
            )

    # Image -----------------------------------------------------------------------------------

    def encode_images(
        self, inputs: Tensor, originals: Sequence[np.ndarray] | None = None
    ) -> list[TridentEncoding]:
        """Runs the three encoders over images.

        Args:
            inputs: (B, 3, H, W), from the data preprocessor, for CLIP and DINO.
            originals: the same images at their own size, each (H', W', 3) uint8 RGB, for SAM; None
                shows SAM the inputs, which gives somewhat other masks.
        """
        if originals is None:
            pixels = self.pixels(inputs).clamp(0, 1).mul(255).round().byte()
            originals = list(pixels.permute(0, 2, 3, 1).cpu().numpy())
        return [
            self._encode(image[None], original)
            for image, original in zip(inputs, originals, strict=True)
        ]

    def _encode(self, image: Tensor, original: np.ndarray) -> TridentEncoding:
        spliced = self.spliced(image)
        shown = resize_to_multiple(original, self.encoder.stride[0])
        aggregated, whole = self.aggregated(spliced, shown)
        sam = None
        if self.refinement is not None:
            sam = self._whole_image(shown) if whole is None else whole
        size = tuple(image.shape[-2:])
        return TridentEncoding(
            DenseFeatures(self.encoder.to_text_space(aggregated)), [(0, 0, *size)], size, sam=sam
        )

    def spliced(self, image: Tensor) -> Tensor:
        """Tokens of CLIP, mixed by DINO in windows, joined to one map.

        Args:
            image: (1, 3, H, W), normalised.

        Returns:
            (1, C, h, w), before CLIP's final norm, on cells of CLIP's patch or finer, where the
            companion's grid or the windows' stride is finer.
        """
        image, boxes = self.windows(image)
        windows = cut_windows(image, boxes)
        companions = self.companions(windows)
        mixed = self.mixed_windows(windows, companions)
        stride = self.inference_settings.stride
        return join_windows(mixed, boxes, tuple(image.shape[-2:]), self.encoder.stride, stride)

    def windows(self, image: Tensor) -> tuple[Tensor, list[Box]]:
        """The image at a size that whole patches fill, and its windows.

        Args:
            image: (1, 3, H, W), normalised.
        """
        settings = self.inference_settings
        size = whole_patches(tuple(image.shape[-2:]), self.encoder.stride, settings.crop_size)
        if size != tuple(image.shape[-2:]):
            image = F.interpolate(image, size=size, mode='bilinear', align_corners=False)
        return image, window_boxes(size, settings.crop_size, settings.stride)

    def companions(self, windows: Tensor) -> Tensor:
        """The companion's features of all windows, (n, C', h', w').

        Args:
            windows: (n, 3, H, W), normalised as CLIP wants them.
        """
        return torch.cat(
            [
                self.companion(self.pixels(batch))
                for batch in windows.split(self.inference_settings.window_batch)
            ]
        )

    def mixed_windows(self, windows: Tensor, companions: Tensor) -> Tensor:
        """CLIP's values mixed by DINO's similarities and projected, (n, C, h', w').

        Args:
            windows: (n, 3, H, W), normalised.
            companions: (n, C', h', w'), from :meth:`companions`.
        """
        at_once = self.inference_settings.window_batch
        # Ordinary similarity is that of all windows, however many of them go at once.
        mean = mean_similarity(companions).mean()
        return torch.cat(
            [
                self.proxy(self.encoder, batch, companion, mean)
                for batch, companion in zip(
                    windows.split(at_once), companions.split(at_once), strict=True
                )
            ]
        )

    def aggregated(self, spliced: Tensor, shown: np.ndarray) -> tuple[Tensor, SAMImage | None]:
        """Tokens aggregated over the whole image by SAM.

        Args:
            spliced: (1, C, h, w), from :meth:`spliced`.
            shown: (H, W, 3) uint8 RGB, what SAM sees.

        Returns:
            (1, C, H', W') on SAM's grid, its parts side by side; and SAM's embedding, where it saw
            the image in one part and a refinement wants it.
        """
        if self.sam_columns == 1:
            return self._aggregated_part(spliced, shown, self.refinement is not None)
        parts = [
            self._aggregated_part(tokens, pixels, False)[0]
            for tokens, pixels in zip(
                _columns(spliced, self.sam_columns, 3), self.sam_parts(shown), strict=True
            )
        ]
        return torch.cat(parts, dim=3), None

    def sam_parts(self, shown: np.ndarray) -> list[np.ndarray]:
        """What SAM's correlation sees of an image, from left to right.

        Args:
            shown: (H, W, 3) uint8 RGB.
        """
        return [np.ascontiguousarray(part) for part in _columns(shown, self.sam_columns, 1)]

    def _aggregated_part(
        self, tokens: Tensor, pixels: np.ndarray, with_embedding: bool
    ) -> tuple[Tensor, SAMImage | None]:
        frame = self.sam.prepare(pixels)
        grid = self.sam.grid(frame.input_size)
        resized = F.interpolate(tokens, size=grid, mode='bilinear', align_corners=False)
        sam_tokens = self.sam.trunk(frame)
        aggregated: Aggregated = aggregate(
            self.sam.last_attention(sam_tokens),
            resized,
            tuple(sam_tokens.shape[1:3]),
            self.correlation,
            self.sam.queries_at_once(),
            with_mixed=with_embedding,
        )
        if not with_embedding:
            return aggregated.features, None
        embedding = self.sam.embedding(sam_tokens, aggregated.mixed)
        return aggregated.features, _sam_image(embedding, frame)

    def _whole_image(self, shown: np.ndarray) -> SAMImage:
        frame = self.sam.prepare(shown)
        tokens = self.sam.trunk(frame)
        mixed = self.sam.last_attention(tokens).apply(self.sam.queries_at_once())
        return _sam_image(self.sam.embedding(tokens, mixed), frame)

    # Labels ----------------------------------------------------------------------------------

    def segment_encoding(
        self,
        encoding: TridentEncoding,
        original_size: tuple[int, int],
        classifier: Classifier | None = None,
        with_scores: bool = False,
        strip_megabytes: float | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Labels of an encoded image, refined by SAM if the model has a refinement.

        Args and returns as in the parent; refined scores are 0 where a class has no mask.
        """
        classifier = self.classifier if classifier is None else classifier.to(self.device)
        size = tuple(original_size)
        if self.refinement is None:
            return super().segment_encoding(
                encoding, size, classifier, with_scores, strip_megabytes
            )
        coarse = self.coarse_labels(encoding, size, classifier, strip_megabytes)
        scores = self.coarse_scores(encoding, size, classifier)
        refined = self.refinement(self.sam.sam, encoding.sam, coarse, scores, with_scores)
        return (refined.labels, refined.scores) if with_scores else refined.labels

    def coarse_labels(
        self,
        encoding: TridentEncoding,
        size: tuple[int, int],
        classifier: Classifier,
        strip_megabytes: float | None = None,
    ) -> Tensor:
        """Labels (H, W) before the refinement; arguments of :meth:`segment_encoding`."""
        return super().segment_encoding(encoding, size, classifier, False, strip_megabytes)

    def coarse_scores(
        self, encoding: TridentEncoding, size: tuple[int, int], classifier: Classifier
    ) -> CoarseScores:
        """Class probabilities before the refinement, made when they are asked for.

        Args:
            encoding: from :meth:`encode_images`.
            size: (height, width) of the labels in pixels.
            classifier: its rows are asked.
        """
        maps = self.score_maps(encoding, classifier, size)
        return _Probabilities(maps, size, classifier, self.scores_are_probabilities)

    def protocol(self) -> dict[str, Any]:
        """The facts that give a number its meaning, as plain data."""
        return {
            **super().protocol(),
            'last_block': f'values mixed by {self.companion}, {self.proxy}',
            'guide': f'SAM {self.sam.name} ({self.sam.weights}), {self.correlation}, '
            f'columns={self.sam_columns}',
            'refinement': None if self.refinement is None else str(self.refinement),
        }


class _Probabilities:
    """See :class:`~ovseg.refiners.sam_prompts.CoarseScores`."""

    def __init__(
        self, maps: ScoreMaps, size: tuple[int, int], classifier: Classifier, given: bool
    ) -> None:
        self.size = size
        self.num_classes = classifier.num_classes
        self._maps, self._classifier, self._given = maps, classifier, given

    def rows(self, start: int, stop: int) -> Tensor:
        """(K, stop - start, W) class probabilities of some rows."""
        scores = output_rows(self._maps, self.size, start, stop)[None]
        return self._classifier.probabilities(scores, are_probabilities=self._given)[0]


def _columns(image: Any, count: int, axis: int) -> list[Any]:
    """Equal parts side by side; the last one has what is left over."""
    width = image.shape[axis]
    edges = [width * part // count for part in range(count)] + [width]
    before = (slice(None),) * axis
    return [
        image[(*before, slice(start, stop))]
        for start, stop in zip(edges[:-1], edges[1:], strict=True)
    ]


def _sam_image(embedding: Tensor, frame: SAMFrame) -> SAMImage:
    return SAMImage(embedding, frame.input_size, frame.image_size)
