# The baseline: a Mask R-CNN on the tiny CLIP, trained equally without words.
_base_ = [
    '../_base_/models/mask_rcnn_clip_tiny.py',
    '../_base_/datasets/scenes_instance.py',
    '../_base_/schedules/detection_clip_tiny.py',
]
