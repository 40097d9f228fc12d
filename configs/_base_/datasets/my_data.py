"""Images and label maps of your own in data/my_data/{images,labels}/{train,val}.

A config of yours says the names: docs/train_my_data.md.
"""

_base_ = './label_maps.py'

# Replaced by yours, in the order of the numbers in the label maps; 255 is a pixel without a class.
names = ['road', 'building', 'tree']
# Images are resized to fit; training takes crops of them.
scale = (2048, 512)
crop_size = (512, 512)

dataset = dict(type='LabelledFolderDataset', data_root='data/my_data', metainfo=dict(classes=names))
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        **dataset,
        data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadSegLabels'),
            dict(type='RandomResize', scale=scale, ratio_range=(0.5, 2.0), keep_ratio=True),
            dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PhotoMetricDistortion'),
            dict(type='PackSegInputs'),
        ],
    ),
)
test_dataloader = dict(
    dataset=dict(
        **dataset,
        data_prefix=dict(img_path='images/val', seg_map_path='labels/val'),
        resize=dict(scale=scale, keep_ratio=True),
    )
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        data_prefix=dict(img_path='images/val', seg_map_path='labels/val'),
        resize=dict(scale=scale, keep_ratio=True),
        pipeline=_base_.test_dataloader.dataset.pipeline,
    ),
)
val_evaluator = dict(type='OVIoUMetric')
val_cfg = dict(type='ValLoop')
# For single pictures (demo/image_demo.py).
resize = dict(scale=scale, keep_ratio=True)
