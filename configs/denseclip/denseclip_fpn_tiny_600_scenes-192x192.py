# The words of Scenes guide a Semantic FPN on the tiny CLIP.
_base_ = [
    '../_base_/models/denseclip_fpn_tiny.py',
    '../_base_/datasets/denseclip_scenes.py',
    '../_base_/schedules/denseclip_tiny.py',
]
model = dict(
    vocabulary=_base_.words,
    neck=dict(in_channels=[128, 128 + len(_base_.words), 128, 128]),
)
