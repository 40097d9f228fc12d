"""COCO 2017 val, the masks of 80 classes of things."""

_base_ = './panoptic_keys.py'
on = 'coco_things'
data_root = 'data/coco'
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='COCOInstancesDataset',
        data_root=data_root,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img_path='val2017'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='PackSegInputs', meta_keys=_base_.meta_keys),
        ],
    ),
)
test_evaluator = [
    dict(type='MaskAPMetric', ann_file=data_root + '/annotations/instances_val2017.json')
]
test_cfg = dict(type='TestLoop')
