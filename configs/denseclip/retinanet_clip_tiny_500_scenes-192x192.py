# The baseline: a RetinaNet on the tiny CLIP, trained equally without words.
_base_ = [
    '../_base_/models/fpn_clip_tiny.py',
    '../_base_/models/retinanet_tiny.py',
    '../_base_/datasets/scenes_detection.py',
    '../_base_/schedules/detection_clip_tiny.py',
]
model = dict(
    _delete_=True,
    type='mmdet.RetinaNet',
    backbone=_base_.model.backbone,
    **_base_.retinanet,
)
