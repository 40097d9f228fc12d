_base_ = [
    '../_base_/models/mask_rcnn_clip_r50.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/detection_clip_1x.py',
]
optim_wrapper = dict(optimizer=dict(lr=2e-4))
