"""DenseCLIP: any backbone in CLIP's text space, guided by the words of fixed classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ovseg.registry import MODELS, build_part
from ovseg.segmentors.trained import TrainedSegmentor
from ovseg.training.heads.pixel_text_matching import (
    Matching,
    PixelTextMatching,
    check_neck_widths,
    join_score_map,
)


@MODELS.register_module()
class DenseCLIP(PixelTextMatching, TrainedSegmentor):
    """A trained segmentor whose decoder also gets a pixel-text score map.

    The words of the classes, with learned contexts between start and name, go through CLIP's text
    tower; a small decoder adapts them to the image; their cosines with the dense embedding are
    concatenated to one level of the pyramid and, divided by ``tau``, trained with the labels, too.

    Args:
        backbone: config of one that gives :class:`~ovseg.encoders.TextAlignedFeatures`.
        text_encoder: config of a ``CLIPTextContextEncoder``; None for a model that was exported
            without it.
        context_decoder: config of a ``ContextDecoder``.
        decode_head: see :class:`TrainedSegmentor`. The input widths of the neck, or of the heads
            where there is none, count the score map's channel a class at its level.
        vocabulary: see :class:`TrainedSegmentor`; each class's first prompt is shown to CLIP.
        context_length: tokens of a name, start and end included.
        tau: temperature of the auxiliary loss.
        token_embed_dim: width of the text tower.
        text_dim: D, of the text space.
        score_concat_index: level that the score map is concatenated to; its grid must be that of
            the dense embedding.
        text_head: whether the decode head gets the text embeddings (B, K, D) before the levels.
        identity_head: config of the head for the auxiliary loss, or None.
        prompting: ``'post'``: the image adapts the text embeddings; ``'pre'``: it makes the
            contexts, and the text tower runs for each image.
        freeze_text_encoder: whether its parameters stay as they are. False is the published
            behaviour: a learning rate of 0 that the schedule's floor raises to 1e-6.
        pretrained: CLIP's weights for backbone and text encoder, where these name none: a path, or
            arguments of :func:`~ovseg.encoders.load_clip`.
        settings: other arguments of :class:`TrainedSegmentor`.

    Raises:
        UserError: settings that do not fit each other, with the config key.

    Source: DenseCLIP (arXiv 2112.01518); raoyongming/DenseCLIP for constants and names.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        text_encoder: Mapping[str, Any] | None,
        context_decoder: Mapping[str, Any],
        decode_head: Mapping[str, Any],
        vocabulary: Any,
        context_length: int = 5,
        tau: float = 0.07,
        token_embed_dim: int = 512,
        text_dim: int = 1024,
        score_concat_index: int = 3,
        text_head: bool = False,
        identity_head: Mapping[str, Any] | None = None,
        prompting: str = 'post',
        freeze_text_encoder: bool = True,
        pretrained: str | Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        if pretrained is not None:
            backbone = {'pretrained': pretrained, **backbone}
            text_encoder = text_encoder and {'pretrained': pretrained, **text_encoder}
        super().__init__(backbone, decode_head, vocabulary, **settings)
        self.init_matching(
            text_encoder=text_encoder,
            context_decoder=context_decoder,
            vocabulary=self.trained_vocabulary,
            context_length=context_length,
            tau=tau,
            token_embed_dim=token_embed_dim,
            text_dim=text_dim,
            prompting=prompting,
            freeze_text_encoder=freeze_text_encoder,
        )
        self.score_concat_index = score_concat_index
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
        features = self.backbone(inputs)
        matching = self.match(features)
        levels = join_score_map(features.levels, matching.score_map, self.score_concat_index)
        plain = list(features.levels)
        if self.with_neck:
            check_neck_widths(
                self.neck, levels, self.score_concat_index, len(self.trained_vocabulary)
            )
            levels = plain = list(self.neck(levels))
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
            scores = matching.score_map / self.tau
            losses.update(self._losses_of(self.identity_head, 'aux_identity', scores, data_samples))
        if self.with_auxiliary_head:
            losses.update(self._auxiliary_head_forward_train(plain, data_samples))
        return losses

    def protocol(self) -> dict[str, Any]:
        """The facts that give a number its meaning, as plain data."""
        return {**super().protocol(), 'prompting': self.prompting, 'tau': self.tau}
