"""Scenes whose things are told apart, for FC-CLIP: eleven classes to learn from, and validation."""

_base_ = './scenes_panoptic.py'

seen = [word for word in _base_.words if word not in _base_.unseen]
resize = dict(scale=(384, 192), keep_ratio=True)
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ScenesPanopticDataset',
        split='train',
        num_scenes=5000,
        few_kinds=0.4,  # else hardly two things of a kind stand side by side
        size=(192, 192),
        metainfo=dict(classes=seen),
        without=_base_.unseen,
        pipeline=[
            dict(type='LoadPanopticScene'),
            dict(type='SegmentNumbers'),
            dict(type='RandomFlip', prob=0.5),
            dict(
                type='PackSegInputs',
                meta_keys=('img_path', 'ori_shape', 'img_shape', 'flip', 'segment_labels'),
            ),
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
val_evaluator = dict(type='PanopticQualityMetric')
val_cfg = dict(type='ValLoop')
