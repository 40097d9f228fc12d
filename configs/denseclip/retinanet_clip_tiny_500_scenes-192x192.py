# The baseline: a RetinaNet on the tiny CLIP, trained equally without words.
_base_ = [
    '../_base_/models/retinanet_clip_tiny.py',
    '../_base_/datasets/scenes_detection.py',
    '../_base_/schedules/detection_clip_tiny.py',
]
