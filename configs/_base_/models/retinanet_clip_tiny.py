# The plain-CLIP baseline: mmdet's RetinaNet on the tiny CLIP that ships with ovseg, without words.
_base_ = ['./fpn_clip_tiny.py', './retinanet_tiny.py']
model = dict(
    _delete_=True,
    type='mmdet.RetinaNet',
    backbone=_base_.model.backbone,
    **_base_.retinanet,
)
