"""COCO-Stuff 164k for MAFT+: whole images, their shorter side 800, and validation."""

_base_ = './coco_stuff164k.py'

resize = dict(type='AntialiasedResize', scale=(1333, 800))
train_dataloader = dict(
    batch_size=1,  # on each of 8 GPUs
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='COCOStuff164kDataset',
        data_root=_base_.data_root,
        **_base_.training,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadSegLabels'),
            resize,
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackSegInputs'),
        ],
    ),
)
test_dataloader = dict(dataset=dict(resize=resize))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**_base_.test_dataloader.dataset, resize=resize),
)
val_evaluator = _base_.test_evaluator
val_cfg = dict(type='ValLoop')
