# The words of Scenes' objects guide a Mask R-CNN on the tiny CLIP.
_base_ = [
    '../_base_/models/mask_rcnn_denseclip_tiny.py',
    '../_base_/datasets/scenes_instance.py',
    '../_base_/schedules/detection_tiny.py',
]
model = dict(
    vocabulary=_base_.classes,
    neck=dict(in_channels=[128, 128 + len(_base_.classes), 128, 128]),
)
