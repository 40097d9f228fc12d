# The plain-CLIP baseline: mmdet's Mask R-CNN on the tiny CLIP that ships with ovseg, without words.
_base_ = ['./fpn_clip_tiny.py', './mask_rcnn_tiny.py']
model = dict(
    _delete_=True,
    type='mmdet.MaskRCNN',
    backbone=_base_.model.backbone,
    **_base_.mask_rcnn,
)
