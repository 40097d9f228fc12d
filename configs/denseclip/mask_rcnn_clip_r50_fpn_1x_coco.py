# The baseline without words: mmdet's own detector on CLIP's RN50.
_base_ = [
    '../_base_/models/fpn_clip_r50.py',
    '../_base_/models/mask_rcnn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/detection_clip_1x.py',
]
model = dict(
    _delete_=True,
    type='mmdet.MaskRCNN',
    backbone=_base_.model.backbone,
    **_base_.mask_rcnn,
)
optim_wrapper = dict(optimizer=dict(lr=2e-4))
