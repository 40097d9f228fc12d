"""DenseCLIP's RetinaNet and Mask R-CNN: mmdet's own, with a pixel-text score map before the neck.

Source: DenseCLIP (arXiv 2112.01518), section on object detection and instance segmentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from mmdet.models.detectors import MaskRCNN, RetinaNet

from ovseg.registry import MODELS
from ovseg.training.detectors.text_aligned import TextAlignedDetector, check_class_count
from ovseg.vocabulary import VocabularySource

if TYPE_CHECKING:
    from mmdet.models.dense_heads import RetinaHead

if TYPE_CHECKING:
    from mmdet.models.dense_heads import RetinaHead


@MODELS.register_module(name='DenseCLIP_RetinaNet')
class DenseCLIPRetinaNet(TextAlignedDetector, RetinaNet):
    """RetinaNet with DenseCLIP's score map.

    Args:
        backbone: config of one that gives
            :class:`~ovseg.encoders.dense.TextAlignedFeatures`; the released detectors' has
            ``position='crop'``.
        neck: config of mmdet's FPN; the level ``score_concat_index`` has K channels more.
        bbox_head: config of mmdet's RetinaHead.
        vocabulary: names of the K classes, in the order of the labels; no background.
        seg_loss: also learn the score map from the boxes, as ``loss_seg``.
        detector: fields of :class:`~ovseg.training.heads.matching_settings.MatchingSettings` (the
            map that enters the pyramid is divided by ``tau`` already), and ``train_cfg``,
            ``test_cfg``, ``data_preprocessor``, ``init_cfg`` of mmdet's RetinaNet.

    Raises:
        UserError: another number of classes than the head has, or an argument of the released
            configs that has no effect.
    """

    SCORE_MAP_LOSS: ClassVar[str] = 'loss_seg'
    bbox_head: RetinaHead

    def __init__(
        self, *, bbox_head: Mapping[str, Any], vocabulary: VocabularySource, **detector: Any
    ) -> None:
        super().__init__(bbox_head=bbox_head, vocabulary=vocabulary, **detector)
        check_class_count(
            self.matched_vocabulary.names, self.bbox_head.num_classes, 'bbox_head.num_classes'
        )


@MODELS.register_module(name='DenseCLIP_MaskRCNN')
class DenseCLIPMaskRCNN(TextAlignedDetector, MaskRCNN):
    """Mask R-CNN with DenseCLIP's score map.

    The score map learns from the boxes, as in RetinaNet, not from the masks.

    Args:
        rpn_head: config of mmdet's RPNHead.
        roi_head: config of mmdet's StandardRoIHead.
        vocabulary: names of the K classes, in the order of the labels; no background.
        detector: the other arguments of :class:`DenseCLIPRetinaNet` but its head; the score map's
            loss is ``loss_aux_seg``.

    Raises:
        UserError: see :class:`DenseCLIPRetinaNet`.
    """

    SCORE_MAP_LOSS: ClassVar[str] = 'loss_aux_seg'

    def __init__(
        self,
        *,
        rpn_head: Mapping[str, Any],
        roi_head: Mapping[str, Any],
        vocabulary: VocabularySource,
        **detector: Any,
    ) -> None:
        super().__init__(rpn_head=rpn_head, roi_head=roi_head, vocabulary=vocabulary, **detector)
        for part in ('bbox_head', 'mask_head'):
            head = getattr(self.roi_head, part)
            check_class_count(
                self.matched_vocabulary.names, head.num_classes, f'roi_head.{part}.num_classes'
            )
