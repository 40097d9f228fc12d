# Your own images and label maps with CLIP's RN50, on a GPU (docs/train_my_data.md).
_base_ = [
    '../_base_/models/denseclip_fpn_r50.py',
    '../_base_/datasets/my_data.py',
    '../_base_/schedules/denseclip_my_data.py',
]
model = dict(
    vocabulary=_base_.names,
    neck=dict(in_channels=[256, 512, 1024, 2048 + len(_base_.names)]),
    freeze_text_encoder=True,
)
