"""Trident: CLIP's features mixed by DINO in windows, spliced, aggregated by SAM, refined by SAM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from ovseg.affinity.proxy import mean_similarity
from ovseg.encoders import CLIPViTEncoder, DenseFeatures
from ovseg.encoders.companions import Companion
from ovseg.encoders.prompted_sam import PromptedSAM, SAMImage
from ovseg.encoders.sam import load_sam
from ovseg.encoders.sam_encoder import SAMEncoder, resize_to_multiple
from ovseg.encoders.sams import build_prompted_sam, is_sam2
from ovseg.errors import UserError
from ovseg.guides.mixer import Look, Mixer
from ovseg.guides.proxy_mixer import ProxyAttention
from ovseg.guides.sam_correlation import Aggregated, SAMCorrelation, aggregate
from ovseg.images import Images
from ovseg.images.windows import Box, cut_windows, stretched_windows
from ovseg.refiners.sam_prompts import SAMPrompts
from ovseg.registry import MODELS, build_part
from ovseg.scores.decide import Decision
from ovseg.scores.encoding import ImageEncoding
from ovseg.scores.splicing import join_windows
from ovseg.segmentors.training_free import TrainingFreeSegmentor
from ovseg.settings import read_settings
from ovseg.sizes import spatial_size
from ovseg.stages import stage


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
            :class:`~ovseg.encoders.sam_encoder.SAMEncoder`; a SAM of the first version, since the
            correlation is its last attention.
        proxy: fields of :class:`~ovseg.guides.proxy_mixer.ProxyAttention`.
        correlation: fields of :class:`~ovseg.guides.sam_correlation.SAMCorrelation`.
        sam_columns: in how many parts, side by side, SAM sees an image; published 2 for Cityscapes,
            whose images are twice as wide as high.
        refinement: fields of :class:`~ovseg.refiners.sam_prompts.SAMPrompts`, or None for none; and
            ``sam``, arguments of :func:`~ovseg.encoders.sams.build_prompted_sam` for a SAM of its
            own, of any version, instead of the one above.
        encoder: as in the parent; its last block stays out.
        test_cfg: as in the parent; ``mode='splice'``, crop and stride multiples of CLIP's patch.
        kwargs: as in the parent.

    Raises:
        UserError: settings that do not fit each other, with the config key.

    Source: Trident (arXiv 2411.09219).
    """

    reads = frozenset({'originals'})
    frozen_prefixes: ClassVar[tuple[str, ...]] = (
        'clip.',
        'encoder.',
        'companion.',
        'sam.',
        'own_prompted.',
    )
    encoder: CLIPViTEncoder

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
        if is_sam2(sam.get('model')):
            raise UserError(
                'model.sam of Trident must be a SAM of the first version, whose last attention is '
                'its correlation; SAM 2 goes into model.refinement.sam'
            )
        blocks = {'block_megabytes': sam.pop('block_megabytes')} if 'block_megabytes' in sam else {}
        self.sam = SAMEncoder(load_sam(**sam), **blocks)
        self.proxy: Mixer = read_settings(ProxyAttention, proxy, 'model.proxy')
        self.correlation = read_settings(SAMCorrelation, correlation, 'model.correlation')
        self.sam_columns = sam_columns
        self.refinement: SAMPrompts | None = None
        self.own_prompted: PromptedSAM | None = None
        if refinement is not None:
            refinement = dict(refinement)
            own = refinement.pop('sam', None)
            self.refinement = build_part({'type': 'SAMPrompts', **refinement})
            self.own_prompted = None if own is None else build_prompted_sam(own)
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
            length % side for length, side in zip(settings.windowing[0], patch, strict=True)
        ):
            raise UserError(
                "Trident needs test_cfg.mode='splice' with a crop_size that is a multiple of "
                f"CLIP's patch {patch}, got mode='{settings.mode}' and {settings.crop_size}"
            )

    @property
    def prompted(self) -> PromptedSAM:
        """The SAM that the refinement prompts."""
        return self.sam if self.own_prompted is None else self.own_prompted

    # Image -----------------------------------------------------------------------------------

    @override
    def encode(self, images: Images, window_batch: int | None = None) -> list[ImageEncoding]:
        """Runs the three encoders; without originals SAM sees the inputs: other masks, somewhat."""
        inputs, originals = images.inputs, images.originals
        at_once = self.inference_settings.with_window_batch(window_batch).window_batch
        if originals is None:
            pixels = self.pixels(inputs).clamp(0, 1).mul(255).round().byte()
            originals = list(pixels.permute(0, 2, 3, 1).cpu().numpy())
        return self.in_text_space(
            [
                self._encode(image[None], original, at_once)
                for image, original in zip(inputs, originals, strict=True)
            ]
        )

    def _encode(self, image: Tensor, original: np.ndarray, at_once: int) -> TridentEncoding:
        spliced = self.spliced(image, at_once)
        shown = resize_to_multiple(original, self.encoder.stride[0])
        aggregated, whole = self.aggregated(spliced, shown)
        sam = None
        if self.refinement is not None:
            sam = self.prompted.embed(shown) if whole is None else whole
        size = (image.shape[2], image.shape[3])
        return TridentEncoding(
            DenseFeatures(self.encoder.to_text_space(aggregated)), [(0, 0, *size)], size, sam=sam
        )

    def spliced(self, image: Tensor, at_once: int | None = None) -> Tensor:
        """Tokens of CLIP, mixed by DINO in windows, joined to one map.

        Args:
            image: (1, 3, H, W), normalised.
            at_once: windows that go through CLIP and DINO together; None as ``test_cfg`` says.

        Returns:
            (1, C, h, w), before CLIP's final norm, on cells of CLIP's patch or finer, where the
            companion's grid or the windows' stride is finer.
        """
        image, boxes = self.windows(image)
        windows = cut_windows(image, boxes)
        at_once = at_once or self.inference_settings.window_batch
        mixed = self.mixed_windows(windows, self.companions(windows, at_once), at_once)
        _, stride = self.inference_settings.windowing
        return join_windows(mixed, boxes, spatial_size(image), self.encoder.stride, stride)

    def windows(self, image: Tensor) -> tuple[Tensor, list[Box]]:
        """The image at a size that whole patches fill, and its windows.

        Args:
            image: (1, 3, H, W), normalised.
        """
        crop_size, stride = self.inference_settings.windowing
        return stretched_windows(image, self.encoder.stride, crop_size, stride)

    def companions(self, windows: Tensor, at_once: int) -> Tensor:
        """The companion's features of all windows, (n, C', h', w').

        Args:
            windows: (n, 3, H, W), normalised as CLIP wants them.
            at_once: how many of them go through it together.
        """
        parts = [self.companion(self.pixels(part)) for part in windows.split(at_once)]
        return torch.cat(parts).float()

    def mixed_windows(self, windows: Tensor, companions: Tensor, at_once: int) -> Tensor:
        """CLIP's values mixed by DINO's similarities and projected, (n, C, h', w').

        Args:
            windows: (n, 3, H, W), normalised.
            companions: (n, C', h', w'), from :meth:`companions`.
            at_once: windows that go through CLIP together.
        """
        # Ordinary similarity is that of all windows, however many of them go at once.
        mean = mean_similarity(companions).mean()
        return torch.cat(
            [
                self.proxy(self.encoder, batch, Look(companion, ordinary=mean))
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
            the image in one part and a refinement by the same SAM wants it.
        """
        if self.sam_columns == 1:
            is_wanted = self.refinement is not None and self.own_prompted is None
            return self._aggregated_part(spliced, shown, is_wanted)
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
        with stage('SAM correlation'):
            aggregated: Aggregated = aggregate(
                self.sam.last_attention(sam_tokens),
                resized,
                (sam_tokens.shape[1], sam_tokens.shape[2]),
                self.correlation,
                self.sam.queries_at_once(),
                with_mixed=with_embedding,
            )
        if not with_embedding:
            return aggregated.features, None
        assert aggregated.mixed is not None  # as asked for
        embedding = self.sam.embedding(sam_tokens, aggregated.mixed)
        return aggregated.features, self.sam.image(frame, embedding)

    # Labels ----------------------------------------------------------------------------------

    @property
    @override
    def moves_pixels(self) -> bool:
        return self.refinement is not None

    @override
    def finish(self, decision: Decision, encoding: TridentEncoding) -> Decision:
        """Labels refined by SAM, if the model has a refinement.

        Scores are probability times the strength of the mask within a class's masks, 0 for other
        classes there, and the coarse probabilities where SAM has no mask.
        """
        if self.refinement is None:
            return decision
        assert encoding.sam is not None  # kept for the refinement
        keep = decision.scores is not None
        with stage('SAM refinement'):
            refined = self.refinement(
                self.prompted, encoding.sam, decision.labels, decision.shares, keep
            )
        scores = decision.scores
        if refined.scores is not None and scores is not None:
            is_covered = refined.scores.amax(0) > 0
            scores = torch.where(is_covered, refined.scores, scores)
        return replace(decision, labels=refined.labels, own=refined.own, scores=scores)

    @override
    def protocol(self) -> dict[str, Any]:
        return {
            **super().protocol(),
            'last_block': f'values mixed by {self.companion}, {self.proxy}',
            'guide': f'SAM {self.sam.name} ({self.sam.weights}), {self.correlation}, '
            f'columns={self.sam_columns}',
            'refinement': self._refinement_told(),
        }

    def _refinement_told(self) -> str | None:
        if self.refinement is None or self.own_prompted is None:
            return None if self.refinement is None else str(self.refinement)
        return f'{self.refinement} by {self.prompted.name} ({self.prompted.weights})'


def _columns(image: Any, count: int, axis: int) -> list[Any]:
    """Equal parts side by side; the last one has what is left over."""
    width = image.shape[axis]
    edges = [width * part // count for part in range(count)] + [width]
    before = (slice(None),) * axis
    return [
        image[before + (slice(start, stop),)]
        for start, stop in zip(edges[:-1], edges[1:], strict=True)
    ]
