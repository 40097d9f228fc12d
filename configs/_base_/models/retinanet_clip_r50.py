# The plain-CLIP baseline: mmdet's RetinaNet on CLIP's RN50, without words.
_base_ = ['./fpn_clip_r50.py', './retinanet.py']
model = dict(
    _delete_=True,
    type='mmdet.RetinaNet',
    backbone=_base_.model.backbone,
    **_base_.retinanet,
)
