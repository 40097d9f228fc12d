# The words of Scenes' objects guide a RetinaNet on the tiny CLIP.
_base_ = [
    '../_base_/models/retinanet_denseclip_tiny.py',
    '../_base_/datasets/scenes_detection.py',
    '../_base_/schedules/detection_tiny.py',
]
model = dict(
    vocabulary=_base_.classes,
    neck=dict(in_channels=[128, 128 + len(_base_.classes), 128, 128]),
)
