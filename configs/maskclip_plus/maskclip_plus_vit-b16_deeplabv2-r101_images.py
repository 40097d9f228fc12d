# A folder of photographs, as released for web images: a config of yours sets words and folders
# (docs/label_my_folder.md).
_base_ = [
    '../_base_/models/maskclip_plus_vit-b16.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=None)
resize = dict(scale=(2048, 512), keep_ratio=True)
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ImageFolderDataset',
        data_root='data/images',
        suppress_labels='all',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadSegLabels'),
            dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
            dict(type='RandomCrop', crop_size=(512, 512), cat_max_ratio=0.75),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PhotoMetricDistortion'),
            dict(type='PackSegInputs'),
        ],
    ),
)
max_iters = 300
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005),
)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=1e-4, begin=0, end=max_iters, by_epoch=False)
]
# A labelled part, if there is one: label maps hold the number of the word, 255 for none.
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BaseSegDataset',
        data_root='data/labelled',
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', **resize),
            dict(type='LoadSegLabels'),
            dict(type='PackSegInputs'),
        ],
    ),
)
test_evaluator = dict(type='OVIoUMetric')
test_cfg = dict(type='TestLoop')
