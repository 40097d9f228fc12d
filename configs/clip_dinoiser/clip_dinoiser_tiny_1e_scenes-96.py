# The two layers on Scenes: one round over 1000 pictures without labels, minutes on a CPU.
_base_ = ['../_base_/models/clip_dinoiser_tiny.py', '../_base_/default_runtime.py']

model = dict(
    guide=dict(weights=None),
    teacher=dict(
        type='DINOTeacher',
        dino=dict(model='tiny_dino_scenes'),
        found=dict(dino=dict(model='tiny_dino_scenes'), decoder='tiny_found_scenes'),
        quantity='values',
        gamma=0.9,
        scale=2.0,  # patches of 8 pixels on cells of 4
    ),
)
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='SeededSamplesDataset',
        dataset=dict(
            type='ScenesDataset',
            split='train',
            num_scenes=1000,
            resize=dict(scale=(144, 144), keep_ratio=True),
            pipeline=[
                dict(type='LoadScene'),  # the labels stay behind: no step adds them
                dict(type='RandomCrop', crop_size=(96, 96)),
                dict(type='RandomFlip', prob=0.5),
                dict(type='RandomBrightness', span=(0.7, 1.3)),
                dict(type='PackSegInputs'),
            ],
        ),
    ),
)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableParamsConstructor',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys={'bkg_decoder': dict(lr_mult=5.0)}),
)
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[200], gamma=0.1)]
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(by_epoch=True, interval=1))
custom_hooks = [
    dict(type='VocabularyCheckHook'),
    dict(type='RandomStateHook'),
    dict(type='SampleSeedHook'),
]
randomness = dict(seed=0)
