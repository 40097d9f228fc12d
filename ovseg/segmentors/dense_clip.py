"""DenseCLIP: any backbone in CLIP's text space, guided by the words of fixed classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ovseg.precision import computed_by
from ovseg.registry import MODELS, build_part
from ovseg.segmentors.trained import TrainedSegmentor
from ovseg.training.heads.matching_settings import MatchingSettings
from ovseg.training.heads.pixel_text_matching import Matching, PixelTextMatching
from ovseg.training.heads.score_map import check_neck_widths, join_score_map


@MODELS.register_module()
class DenseCLIP(PixelTextMatching, TrainedSegmentor):
    """A trained segmentor whose decoder also gets a pixel-text score map.

    The words of the classes, with learned contexts between start and name, go through CLIP's text
    tower; a small decoder adapts them to the image; their cosines with the dense embedding are
    concatenated to one level of the pyramid and, divided by ``tau``, trained with the labels, too.

    Args:
        backbone: config of one that gives :class:`~ovseg.encoders.TextAlignedFeatures`.
        text_encoder: see :class:`~ovseg.training.heads.matching_settings.MatchingSettings`.
        context_decoder: likewise.
        decode_head: see :class:`TrainedSegmentor`. The input widths of the neck, or of the heads
            where there is none, count the score map's channel a class at its level.
        vocabulary: see :class:`TrainedSegmentor`; each class's first prompt is shown to CLIP.
        text_head: whether the decode head gets the text embeddings (B, K, D) before the levels.
        identity_head: config of the head for the auxiliary loss, or None.
        settings: the other fields of
            :class:`~ovseg.training.heads.matching_settings.MatchingSettings`, and the other
            arguments of :class:`TrainedSegmentor`.

    Raises:
        UserError: settings that do not fit each other, with the config key.

    Source: DenseCLIP (arXiv 2112.01518); raoyongming/DenseCLIP for constants and names.
    """

    backbone: nn.Module
    neck: nn.Module

    def __init__(
        self,
        backbone: Mapping[str, Any],
        text_encoder: Mapping[str, Any] | None,
        context_decoder: Mapping[str, Any],
        decode_head: Mapping[str, Any],
        vocabulary: Any,
        text_head: bool = False,
        identity_head: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        texts = {'text_encoder': text_encoder, 'context_decoder': context_decoder}
        matching, others = MatchingSettings.take({**texts, **settings})
        super().__init__(matching.with_weights(backbone), decode_head, vocabulary, **others)
        self.init_matching(matching, self.trained_vocabulary)
        self.text_head = text_head
        self.identity_head = None if identity_head is None else build_part(identity_head)

    def extract_feat(self, inputs: Tensor) -> list[Tensor]:
        """What the decode head gets: the guided levels, the text embeddings first if it wants them.

        Args:
            inputs: (B, 3, H, W), from the data preprocessor.
        """
        return self._guided_features(inputs)[0]

    def _guided_features(self, inputs: Tensor) -> tuple[list[Tensor], Matching, list[Tensor]]:
        """Inputs of the decode head, the matching, and inputs of auxiliary heads."""
        features = computed_by(self.backbone, inputs)
        matching = self.match(features)
        index = self.matching_settings.score_concat_index
        levels = join_score_map(features.levels, matching.score_map, index)
        plain = list(features.levels)
        if self.with_neck:
            check_neck_widths(self.neck, levels, index, len(self.trained_vocabulary))
            levels = plain = list(computed_by(self.neck, levels))
        return ([matching.text, *levels] if self.text_head else levels), matching, plain

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Losses of the decode head, of the score map and of auxiliary heads.

        Args:
            inputs: (B, 3, H, W), from the data preprocessor.
            data_samples: with ``gt_sem_seg``.
        """
        features, matching, plain = self._guided_features(inputs)
        losses = self._decode_head_forward_train(features, data_samples)
        if self.identity_head is not None:
            scores = matching.score_map / self.matching_settings.tau
            losses.update(self._losses_of(self.identity_head, 'aux_identity', scores, data_samples))
        if self.with_auxiliary_head:
            losses.update(self._auxiliary_head_forward_train(plain, data_samples))
        return losses

    def protocol(self) -> dict[str, Any]:
        """The facts that give a number its meaning, as plain data."""
        own = self.matching_settings
        return {**super().protocol(), 'prompting': own.prompting, 'tau': own.tau}
