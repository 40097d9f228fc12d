"""Scenes for OVSeg: eleven classes to learn from; six are in no picture of the training."""

_base_ = '../protocols/scenes.py'

unseen = ['sand', 'brick wall', 'donut', 'flower', 'mushroom', 'kite']
seen = [
    *['sky', 'grass', 'water', 'snow', 'wooden floor'],
    *['star', 'heart', 'ball', 'fish', 'leaf', 'target'],
]
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
        without=unseen,
        pipeline=[
            dict(type='LoadScene'),
            dict(type='LoadSceneLabels'),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackSegInputs'),
        ],
    ),
)
test_dataloader = dict(dataset=dict(resize=None))
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **{
            **_base_.test_dataloader.dataset,
            'resize': None,
            'metainfo': dict(classes=seen),
            'without': unseen,
            'num_scenes': 100,
        }
    ),
)
val_evaluator = dict(type='OVIoUMetric')
val_cfg = dict(type='ValLoop')
