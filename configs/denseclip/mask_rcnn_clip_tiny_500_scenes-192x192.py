# The baseline: a Mask R-CNN on the tiny CLIP, trained equally without words.
_base_ = [
    '../_base_/models/fpn_clip_tiny.py',
    '../_base_/models/mask_rcnn_tiny.py',
    '../_base_/datasets/scenes_instance.py',
    '../_base_/schedules/detection_clip_tiny.py',
]
model = dict(
    _delete_=True,
    type='mmdet.MaskRCNN',
    backbone=_base_.model.backbone,
    **_base_.mask_rcnn,
)
