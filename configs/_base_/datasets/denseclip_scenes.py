"""Scenes for closed classes: fresh scenes with all their labels, at their full size."""

_base_ = './scenes.py'

# The pictures at their size, and others so that objects are as large.
resize = dict(scale=(384, 192), keep_ratio=True)
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ScenesDataset',
        split='train',
        num_scenes=100000,
        size=(192, 192),
        pipeline=[
            dict(type='LoadScene'),
            dict(type='LoadSceneLabels'),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackSegInputs'),
        ],
    ),
)
val_dataloader = _base_.test_dataloader
val_dataloader.dataset.resize = resize
test_dataloader = val_dataloader
val_evaluator = dict(type='OVIoUMetric')
val_cfg = dict(type='ValLoop')
