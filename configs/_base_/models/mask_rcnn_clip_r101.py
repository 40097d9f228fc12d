# The plain-CLIP baseline: mmdet's Mask R-CNN on CLIP's RN101, without words.
_base_ = ['./fpn_clip_r101.py', './mask_rcnn.py']
model = dict(
    _delete_=True,
    type='mmdet.MaskRCNN',
    backbone=_base_.model.backbone,
    **_base_.mask_rcnn,
)
