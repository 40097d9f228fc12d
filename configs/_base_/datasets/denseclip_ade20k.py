"""ADE20K for DenseCLIP: crops of 512 x 512 pixels; val with its shorter side at 512."""

_base_ = './ade20k.py'

resize = dict(scale=(2048, 512), keep_ratio=True)
train_dataloader = dict(
    batch_size=4,  # on each of 8 GPUs
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ADE20K150Dataset',
        data_root=_base_.data_root,
        **_base_.training,
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
val_dataloader = dict(
    _base_.test_dataloader, dataset=dict(_base_.test_dataloader.dataset, resize=resize)
)
test_dataloader = val_dataloader
val_evaluator = {{_base_.test_evaluator}}
val_cfg = dict(type='ValLoop')
# Sizes of --tta, each also mirrored, as released.
tta_ratios = [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
