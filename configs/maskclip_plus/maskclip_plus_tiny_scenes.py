# A small student of the tiny MaskCLIP, trained on scenes without a single label.
_base_ = [
    '../_base_/models/maskclip_plus_tiny.py',
    '../_base_/datasets/scenes.py',
    '../_base_/default_runtime.py',
]
model = dict(
    vocabulary=_base_.words,
    # Within each window unsure patches take the votes of patches with like keys.
    teacher=dict(refiners=[dict(type='KeySmoothing', threshold=1.0, norm='channels')]),
)
# As large as the teacher sees them: objects then have the size that it was trained on.
resize = dict(scale=(288, 144), keep_ratio=True)
max_iters = 3000
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ScenesDataset',
        split='train',
        num_scenes=100000,
        size=(192, 192),
        resize=resize,
        pipeline=[
            dict(type='LoadScene'),
            # Nothing loads the labels: all pixels are unlabelled.
            dict(type='SuppressLabels'),
            # Wherever the crop begins, the teacher's windows begin: its errors average out.
            dict(type='RandomCrop', crop_size=(96, 96)),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackSegInputs'),
        ],
    ),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-3, weight_decay=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=50, end=max_iters, by_epoch=False),
]
randomness = dict(seed=0)
test_dataloader = dict(dataset=dict(resize=resize))
