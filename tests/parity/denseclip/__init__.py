"""Parity with DenseCLIP."""

from pathlib import Path

from parity.denseclip import backbones, segmentation, text_side
from parity.golden import Check, GoldenSet
from parity.report import Report


def _detection(name: str) -> Check:
    """A check of the detectors; mmdet's models are imported when it runs."""

    def check(report: Report, folder: Path) -> None:
        from parity.denseclip import detection

        getattr(detection, name)(report, folder)

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
        '*_seg_*.pt': segmentation.check_segmentor,
        '*_det_*.pt': _detection('check_detector'),
    },
)
