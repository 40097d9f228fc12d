"""What DenseCLIP's detectors share: a score map in the pyramid, and boxes that teach it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from mmdet.models.detectors import BaseDetector
from mmdet.structures import SampleList
from mmdet.structures.bbox import get_box_tensor
from mmengine.config import ConfigDict
from torch import Tensor, nn

from ovseg.errors import UserError
from ovseg.training.heads.matching_settings import MatchingSettings
from ovseg.training.heads.pixel_text_matching import PixelTextMatching
from ovseg.training.heads.score_map import check_neck_widths, join_score_map
from ovseg.training.losses import box_segmentation_loss
from ovseg.vocabulary import Vocabulary, VocabularySource

# Arguments of the released configs that their code never reads.
_WITHOUT_EFFECT = ('clip_head', 'text_adapter')
# Whose names the parts have, whatever the current default scope is.
_SCOPES = {
    'backbone': 'ovseg',
    **dict.fromkeys(('neck', 'bbox_head', 'rpn_head', 'roi_head', 'data_preprocessor'), 'mmdet'),
}


@dataclass(frozen=True)
class EncodedImages:
    """A batch that went through backbone, text matching and neck.

    Attributes:
        pyramid: what the heads take, fine to coarse.
        score_map: (B, K, h, w), cosines over tau.
        image_size: (height, width) of the padded batch in pixels.
    """

    pyramid: tuple[Tensor, ...]
    score_map: Tensor
    image_size: tuple[int, int]


class TextAlignedDetector(PixelTextMatching, BaseDetector):
    """Turns a detector of mmdet into DenseCLIP's; stands before it among the bases.

    The score map (cosine over tau: detection, unlike segmentation, divides before the map enters
    the pyramid) is joined to one level before the neck; a loss on it comes to those of the heads.
    """

    # Name of that loss in the logs; the released code has one for each detector.
    SCORE_MAP_LOSS: ClassVar[str]
    backbone: nn.Module
    neck: nn.Module

    def __init__(
        self,
        *,
        backbone: Mapping[str, Any],
        neck: Mapping[str, Any],
        text_encoder: Mapping[str, Any],
        context_decoder: Mapping[str, Any],
        vocabulary: VocabularySource,
        seg_loss: bool = True,
        **settings: Any,
    ) -> None:
        texts = {'text_encoder': text_encoder, 'context_decoder': context_decoder}
        matching, detector = MatchingSettings.take({**texts, **settings})
        _refuse_without_effect(detector)
        parts = {'backbone': matching.with_weights(backbone), 'neck': neck, **detector}
        super().__init__(**{name: _for_mmdet(name, part) for name, part in parts.items()})
        self.init_matching(matching, vocabulary)
        self.seg_loss = seg_loss

    @property
    def vocabulary(self) -> Vocabulary:
        """The trained classes; a detector has no others."""
        return self.matched_vocabulary

    def encode(self, inputs: Tensor) -> EncodedImages:
        """Encodes a batch.

        Args:
            inputs: (B, 3, H, W), normalised and padded.
        """
        features = self.backbone(inputs)
        settings = self.matching_settings
        score_map = self.match(features).score_map / settings.tau
        levels = join_score_map(features.levels, score_map, settings.score_concat_index)
        check_neck_widths(self.neck, levels, settings.score_concat_index, len(self.vocabulary))
        pyramid = self.neck(tuple(levels))
        return EncodedImages(pyramid, score_map, (inputs.shape[2], inputs.shape[3]))

    def extract_feat(self, batch_inputs: Tensor | EncodedImages) -> tuple[Tensor, ...]:
        """The pyramid that the heads take.

        Args:
            batch_inputs: (B, 3, H, W), normalised; or what :meth:`encode` made of it.
        """
        if not isinstance(batch_inputs, EncodedImages):
            batch_inputs = self.encode(batch_inputs)
        return batch_inputs.pyramid

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Any]:
        """The losses of the heads and of the score map.

        Args:
            batch_inputs: (B, 3, H, W), normalised and padded.
            batch_data_samples: with ``gt_instances``; masks play no part in the score map's loss.
        """
        encoded = self.encode(batch_inputs)
        # mmdet hands the batch on to extract_feat and does nothing else with it.
        losses = super().loss(encoded, batch_data_samples)
        if self.seg_loss:
            losses[self.SCORE_MAP_LOSS] = self.score_map_loss(encoded, batch_data_samples)
        return losses

    def score_map_loss(self, encoded: EncodedImages, samples: SampleList) -> Tensor:
        """See :func:`~ovseg.training.losses.box_segmentation_loss`.

        Args:
            encoded: of :meth:`encode`.
            samples: with ``gt_instances``.
        """
        objects = [sample.gt_instances for sample in samples]
        return box_segmentation_loss(
            encoded.score_map,
            [get_box_tensor(found.bboxes) for found in objects],
            [found.labels for found in objects],
            encoded.image_size,
        )


def check_class_count(vocabulary: Sequence[str], num_classes: int, key: str) -> None:
    """Stops where a head has another number of classes than the text.

    Args:
        vocabulary: names of the classes.
        num_classes: of the head.
        key: where the head's number stands in the config.

    Raises:
        UserError: the numbers differ.
    """
    if len(vocabulary) != num_classes:
        raise UserError(
            f'model.vocabulary has {len(vocabulary)} classes but model.{key} is {num_classes}; '
            "set them alike, and the neck's in_channels with them"
        )


def _refuse_without_effect(detector: Mapping[str, Any]) -> None:
    for name in _WITHOUT_EFFECT:
        if name in detector:
            raise UserError(
                f'model.{name} has no effect in DenseCLIP, whose released code never reads it; '
                'leave it out'
            )


def _for_mmdet(name: str, part: Any) -> Any:
    """A part's config as mmdet reads it: by attribute, and in its own scope."""
    if not isinstance(part, Mapping):
        return part
    scope = _SCOPES.get(name)
    return ConfigDict({'_scope_': scope, **part} if scope else part)
