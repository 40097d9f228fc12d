"""Scenes for OVSeg: eleven classes to learn from; six are in no picture of the training."""

_base_ = './scenes.py'

seen = [word for word in _base_.words if word not in _base_.unseen]
# The pictures at their size, and others so that objects are as large.
resize = dict(scale=(384, 192), keep_ratio=True)
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ScenesDataset',
        split='train',
        num_scenes=5000,
        size=(192, 192),
        metainfo=dict(classes=seen),
        without=_base_.unseen,
        pipeline=[
            dict(type='LoadScene'),
            dict(type='LoadSceneLabels'),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackSegInputs'),
        ],
    ),
)
test_dataloader = dict(dataset=dict(resize=resize))
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **{
            **_base_.test_dataloader.dataset,
            'resize': resize,
            'metainfo': dict(classes=seen),
            'without': _base_.unseen,
            'num_scenes': 100,
        }
    ),
)
val_evaluator = dict(type='OVIoUMetric')
val_cfg = dict(type='ValLoop')
