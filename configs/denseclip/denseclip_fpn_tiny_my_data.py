# Your own images and label maps with the tiny CLIP, on a CPU (docs/train_my_data.md).
_base_ = [
    '../_base_/models/denseclip_fpn_tiny.py',
    '../_base_/datasets/my_data.py',
    '../_base_/schedules/denseclip_tiny.py',
]
names = _base_.names
scale = (384, 192)
crop_size = (192, 192)
model = dict(
    vocabulary=names,
    data_preprocessor=dict(size=crop_size, size_divisor=None),
    neck=dict(in_channels=[128, 128 + len(names), 128, 128]),
)
resize = dict(scale=scale, keep_ratio=True)
train_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadSegLabels'),
            # Objects about as large as the tiny CLIP knows them.
            dict(type='RandomResize', scale=scale, ratio_range=(0.8, 1.25), keep_ratio=True),
            dict(type='RandomCrop', crop_size=crop_size),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackSegInputs'),
        ]
    ),
)
val_dataloader = dict(num_workers=0, dataset=dict(resize=resize))
test_dataloader = dict(num_workers=0, dataset=dict(resize=resize))
