# The baseline: a Semantic FPN on the tiny CLIP, trained equally without words.
_base_ = [
    '../_base_/models/fpn_clip_tiny.py',
    '../_base_/datasets/denseclip_scenes.py',
    '../_base_/schedules/fpn_clip_tiny.py',
]
model = dict(vocabulary=_base_.words)
