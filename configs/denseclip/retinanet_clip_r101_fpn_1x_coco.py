# The baseline without words: mmdet's own detector on CLIP's RN101.
_base_ = [
    '../_base_/models/fpn_clip_r101.py',
    '../_base_/models/retinanet.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/detection_clip_1x.py',
]
model = dict(
    _delete_=True,
    type='mmdet.RetinaNet',
    backbone=_base_.model.backbone,
    **_base_.retinanet,
)
