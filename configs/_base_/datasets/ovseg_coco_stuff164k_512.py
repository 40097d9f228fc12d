"""COCO-Stuff 164k for OVSeg with R101c: crops of 512 x 512 pixels of one size, and validation."""

_base_ = './ovseg_coco_stuff164k.py'

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadSegLabels'),
            # The released configuration names no sizes: these are detectron2's defaults.
            dict(type='AntialiasedResize', scale=(1333, 800)),
            dict(type='RandomCrop', crop_size=(512, 512)),
            dict(type='SSDPhotoMetricDistortion'),
            dict(type='RandomFlip', prob=0.5),
            dict(type='Pad', size=(512, 512), pad_val=dict(img=128, seg=255)),
            dict(type='PackSegInputs'),
        ],
    ),
)
resize = dict(scale=(2048, 512))
test_dataloader = dict(dataset=dict(resize=resize))
val_dataloader = dict(dataset=dict(resize=resize))
