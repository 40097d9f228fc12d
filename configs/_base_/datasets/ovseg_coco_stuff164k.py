"""COCO-Stuff 164k for OVSeg with Swin-B: crops of 640 x 640 of many sizes, and validation."""

_base_ = './coco_stuff164k.py'

train_dataloader = dict(
    batch_size=4,  # on each of 8 GPUs
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
            dict(
                type='RandomChoiceResize',
                # Half the crop to twice the crop; the longer side at most 2560.
                scales=[(2560, 64 * tenths) for tenths in range(5, 21)],
                resize_type='AntialiasedResize',
            ),
            dict(type='RandomCrop', crop_size=(640, 640)),
            dict(type='SSDPhotoMetricDistortion'),
            dict(type='RandomFlip', prob=0.5),
            # Grey before normalisation, not zero after it.
            dict(type='Pad', size=(640, 640), pad_val=dict(img=128, seg=255)),
            dict(type='PackSegInputs'),
        ],
    ),
)

# For validation and test; the R101c has its own.
resize = dict(type='AntialiasedResize', scale=(2560, 640))
test_dataloader = dict(dataset=dict(resize=resize))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**_base_.test_dataloader.dataset, resize=resize),
)
val_evaluator = _base_.test_evaluator
val_cfg = dict(type='ValLoop')
