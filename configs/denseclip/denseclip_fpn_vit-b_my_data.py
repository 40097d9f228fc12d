# Your own images and label maps with CLIP's ViT-B/16, on a GPU (docs/train_my_data.md).
_base_ = [
    '../_base_/models/denseclip_fpn_vit-b.py',
    '../_base_/datasets/my_data.py',
    '../_base_/schedules/denseclip_my_data.py',
]
# Crops of 512 pixels instead of the published 640: less memory for a single GPU.
model = dict(
    vocabulary=_base_.names,
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(input_resolution=512),
    neck=dict(in_channels=[768, 768, 768 + len(_base_.names), 768]),
    freeze_text_encoder=True,
    test_cfg=dict(crop_size=(512, 512), stride=(341, 341)),
)
