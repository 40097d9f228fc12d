_base_ = [
    '../_base_/models/retinanet_clip_r50.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/detection_clip_1x.py',
]
