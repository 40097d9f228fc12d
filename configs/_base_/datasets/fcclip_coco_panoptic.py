"""COCO's things and stuff for FC-CLIP: crops of 1024 x 1024 of many sizes, and validation."""

_base_ = './coco_panoptic.py'

train_dataloader = dict(
    batch_size=2,  # on each of 8 GPUs
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='COCOPanopticDataset',
        data_root=_base_.data_root,
        ann_file='annotations/panoptic_train2017.json',
        data_prefix=dict(img_path='train2017', seg_map_path='annotations/panoptic_train2017'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadPanopticMap'),
            dict(type='SegmentNumbers'),
            dict(type='RandomFlip', prob=0.5),
            dict(type='RandomResize', scale=(1024, 1024), ratio_range=(0.1, 2.0), keep_ratio=True),
            dict(type='RandomCrop', crop_size=(1024, 1024)),
            # Grey before normalisation, not zero after it.
            dict(type='Pad', size=(1024, 1024), pad_val=dict(img=128, seg=255)),
            dict(
                type='PackSegInputs',
                meta_keys=('img_path', 'ori_shape', 'img_shape', 'flip', 'segment_labels'),
            ),
        ],
    ),
)
resize = dict(type='AntialiasedResize', scale=(1333, 800))
test_dataloader = dict(dataset=dict(resize=resize))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**_base_.test_dataloader.dataset, resize=resize),
)
val_evaluator = _base_.test_evaluator
val_cfg = dict(type='ValLoop')
