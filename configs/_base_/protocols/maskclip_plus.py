# MaskCLIP+'s published trainings without labels: crop and length. Words and test are MaskCLIP's.
_base_ = './maskclip.py'

published = dict(
    voc20=dict(crop=(512, 512), iterations=2000),
    context59=dict(crop=(480, 480), iterations=4000),
    coco_stuff164k=dict(crop=(512, 512), iterations=8000),
    cityscapes=dict(crop=(512, 1024), iterations=4000),
    ade20k=dict(crop=(512, 512), iterations=8000),
    # With labels of some classes only, see maskclip_plus_zero-shot.py.
    voc21=dict(crop=(512, 512), iterations=20000),
    context60=dict(crop=(480, 480), iterations=40000),
)
row, on_choices = published[_base_.on], list(published)[:5]
settings = dict(data_preprocessor=dict(size=row['crop']))
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=_base_.test_dataloader.dataset.type,
        data_root=_base_.data_root,
        **_base_.training,
        suppress_labels='all',  # what is left is padded with 255 by the data preprocessor
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadSegLabels'),
            dict(
                type='RandomResize',
                # Of the test, but for Cityscapes at its full size.
                scale=(2048, 1024) if _base_.on == 'cityscapes' else _base_.resize.scale,
                ratio_range=(0.5, 2.0),
                keep_ratio=True,
            ),
            dict(type='RandomCrop', crop_size=row['crop'], cat_max_ratio=0.75),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PhotoMetricDistortion'),
            dict(type='PackSegInputs'),
        ],
    ),
)
max_iters = row['iterations']
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005),
)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=1e-4, begin=0, end=max_iters, by_epoch=False)
]
del published, row
