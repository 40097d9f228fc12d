_base_ = [
    '../_base_/models/retinanet_denseclip_r50.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/detection_1x.py',
]
model = dict(
    vocabulary=_base_.classes,
    neck=dict(in_channels=[256, 512, 1024, 2048 + len(_base_.classes)]),
)
