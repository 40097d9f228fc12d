"""Parity with DenseCLIP."""

from pathlib import Path

from parity.denseclip import backbones, segmentation, text_side
from parity.golden import Check, GoldenSet
from parity.report import Case


def _detection(name: str) -> Check:
    """A check of the detectors; mmdet's models are imported when it runs."""

    def check(file: Case, folder: Path) -> None:
        from parity.denseclip import detection

        getattr(detection, name)(file, folder)

    return check


GOLDEN = GoldenSet(
    checks={
        'backbones.pt': backbones.check_backbones,
        'clip_mapping_rn.pt': backbones.check_resnet_mapping,
        'clip_mapping_vit.pt': backbones.check_vit_mapping,
        'det_attnpool.pt': backbones.check_detection_pool,
        'det_seg_target.pt': _detection('check_box_target'),
        'text_side.pt': text_side.check_text_side,
        'tokens.pt': segmentation.check_tokens,
        '*_seg_model.pt': segmentation.check_model,
        '*_seg_eval.pt': segmentation.check_forward,
        '*_seg_infer.pt': segmentation.check_inference,
        '*_seg_train.pt': segmentation.check_training,
        '*_det_model.pt': _detection('check_model'),
        '*_det_eval.pt': _detection('check_forward'),
        '*_det_train.pt': _detection('check_training'),
    }
)
