"""Scenes for light trainings: 200 pictures with labels, in which six classes are never seen."""

_base_ = './scenes.py'

resize = dict(scale=(288, 144), keep_ratio=True)
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='ScenesDataset',
        split='train',
        num_scenes=200,
        size=(192, 192),
        without=_base_.unseen,
        resize=resize,
        pipeline=[
            dict(type='LoadScene'),
            dict(type='LoadSceneLabels'),
            dict(type='PackSegInputs'),
        ],
    ),
)
test_dataloader = dict(dataset=dict(resize=resize))
