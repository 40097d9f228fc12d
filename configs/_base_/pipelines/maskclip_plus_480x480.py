# Training images of MaskCLIP+. Which labels are held back is said by the data set
# (suppress_labels); what is left is padded with 255 by the data preprocessor.
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        suppress_labels='all',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadSegLabels'),
            dict(type='RandomResize', scale=(520, 520), ratio_range=(0.5, 2.0), keep_ratio=True),
            dict(type='RandomCrop', crop_size=(480, 480), cat_max_ratio=0.75),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PhotoMetricDistortion'),
            dict(type='PackSegInputs'),
        ],
    ),
)
