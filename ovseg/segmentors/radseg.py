"""RADSeg: one encoder whose tokens correct themselves, in windows and over the whole image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from ovseg.affinity.proxy import pool_by_itself
from ovseg.budget import MemoryBudget
from ovseg.encoders import CLIPViTEncoder, DenseFeatures
from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.images.windows import Box, cut_windows, stretched_windows
from ovseg.refiners.grid import check_share
from ovseg.registry import MODELS
from ovseg.scores.denoised import denoised
from ovseg.scores.encoding import ImageEncoding
from ovseg.scores.row_map import RowMap, WindowMaps
from ovseg.scores.splicing import join_windows
from ovseg.segmentors.training_free import TrainingFreeSegmentor
from ovseg.settings import read_settings
from ovseg.sizes import spatial_size
from ovseg.stages import stage
from ovseg.text import Classifier


@dataclass(frozen=True)
class GlobalAggregation:
    """How tokens of the whole image are mixed by their own similarities (SCGA).

    Attributes:
        beta: factor of the image's mean similarity, below which places do not see each other.
        gamma: steepness; published 10.
        megabytes: about what rows of the similarities may take at once; the result does not depend
            on it.
    """

    beta: float = 1.0
    gamma: float = 10.0
    megabytes: float = 256.0

    def __post_init__(self) -> None:
        """Checks the steepness and the memory."""
        for name in ('gamma', 'megabytes'):
            if not getattr(self, name) > 0:
                raise UserError(
                    f'model.aggregation.{name} must be positive, got {getattr(self, name)}'
                )


@MODELS.register_module()
class RADSeg(TrainingFreeSegmentor):
    """Segments by one encoder: windows spliced, mixed by their own similarities, then named.

    Args:
        clip: as in the parent; published C-RADIO v3 with its SigLIP 2 adaptor (``type='RADIO'``),
            and any other with a vision transformer.
        aggregation: fields of :class:`GlobalAggregation`, or None for none.
        denoise_below: probability that a class must reach in a pixel of the image, or it is taken
            out; published 0.5, 0 for no denoising.
        encoder: as in the parent; published ``last_block='radseg'``.
        refiners: as in the parent; the last one gives probabilities (``ScoreSoftmax``).
        test_cfg: as in the parent; ``mode='splice'`` and ``upsampling='direct'``, crop and stride
            multiples of the patch. Images are stretched to multiples of the stride.
        kwargs: as in the parent.

    Raises:
        UserError: settings that do not fit each other, with the config key.

    Source: RADSeg and its released code (RADSeg-OVSS/RADSeg), without its refinement by SAM.
    """

    encoder: CLIPViTEncoder

    def __init__(
        self,
        clip: Mapping[str, Any],
        aggregation: Mapping[str, Any] | None = None,
        denoise_below: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(clip=clip, **kwargs)
        self.aggregation: GlobalAggregation | None = (
            None
            if aggregation is None
            else read_settings(GlobalAggregation, aggregation, 'model.aggregation')
        )
        check_share(denoise_below, 'model.denoise_below')
        self.denoise_below = denoise_below
        self._check_settings()

    def _check_settings(self) -> None:
        if not isinstance(self.encoder, CLIPViTEncoder):
            raise UserError('RADSeg needs an encoder with a vision transformer; choose a ViT')
        if self.guide is not None or self.pixel_refiner is not None:
            raise UserError(
                'RADSeg aggregates and denoises by itself; remove model.guide and '
                'model.pixel_refiner'
            )
        settings, patch = self.inference_settings, self.encoder.stride
        if (
            settings.mode != 'splice'
            or settings.upsampling != 'direct'
            or any(
                length % side
                for lengths in settings.windowing
                for length, side in zip(lengths, patch, strict=True)
            )
        ):
            raise UserError(
                "RADSeg needs test_cfg.mode='splice' with upsampling='direct', and a crop_size and "
                f'stride that are multiples of the patch {patch}, got {settings.to_dict()}'
            )
        if not self.scores_are_probabilities:
            raise UserError(
                'RADSeg needs probabilities on the patch grid: put dict(type="ScoreSoftmax") last '
                'into model.refiners'
            )

    # Image -----------------------------------------------------------------------------------

    @override
    def encode(self, images: Images, window_batch: int | None = None) -> list[ImageEncoding]:
        at_once = self.inference_settings.with_window_batch(window_batch).window_batch
        return self.in_text_space([self._encode(image[None], at_once) for image in images.inputs])

    def _encode(self, image: Tensor, at_once: int) -> ImageEncoding:
        with stage('aggregation'):
            tokens = self.aggregated(self.spliced(image, at_once))
        size = spatial_size(image)
        patch = self.encoder.to_text_space(tokens)
        return ImageEncoding(DenseFeatures(patch), [(0, 0, *size)], size)

    def windows(self, image: Tensor) -> tuple[Tensor, list[Box]]:
        """The image at multiples of the stride, and its windows.

        Args:
            image: (1, 3, H, W), normalised.
        """
        crop_size, stride = self.inference_settings.windowing
        return stretched_windows(image, stride, crop_size, stride)

    def spliced(self, image: Tensor, at_once: int) -> Tensor:
        """Tokens of windows joined to one map, the mean where windows overlap.

        Args:
            image: (1, 3, H, W), normalised.
            at_once: windows that go through the encoder together.

        Returns:
            (1, C, h, w) on the patches of the stretched image, before the final norm.
        """
        image, boxes = self.windows(image)
        windows = cut_windows(image, boxes)
        left = torch.cat([self.encoder.leaving(part) for part in windows.split(at_once)])
        _, stride = self.inference_settings.windowing
        return join_windows(left, boxes, spatial_size(image), self.encoder.stride, stride)

    def aggregated(self, spliced: Tensor) -> Tensor:
        """Tokens mixed over the whole image.

        Args:
            spliced: (1, C, h, w), from :meth:`spliced`.
        """
        if self.aggregation is None:
            return spliced
        how = self.aggregation
        return pool_by_itself(spliced, how.beta, how.gamma, how.megabytes)

    @override
    def scores(
        self,
        encoding: ImageEncoding,
        classifier: Classifier,
        size: tuple[int, int],
        budget: MemoryBudget | None = None,
    ) -> RowMap:
        maps = super().scores(encoding, classifier, size, budget)
        if not self.denoise_below:
            return maps
        assert isinstance(maps, WindowMaps)  # upsampled directly, and nothing follows
        return denoised(maps, classifier.class_index, self.denoise_below, budget or self.budget)

    @override
    def protocol(self) -> dict[str, Any]:
        return {
            **super().protocol(),
            'guide': '' if self.aggregation is None else str(self.aggregation),
            'denoise_below': self.denoise_below,
        }
