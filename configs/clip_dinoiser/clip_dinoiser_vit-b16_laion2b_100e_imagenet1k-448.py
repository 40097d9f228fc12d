# The published training: two layers learn from DINO and FOUND on 1000 images without labels.
# Your own images, in a flat folder or not:
# --cfg-options train_dataloader.dataset.dataset.data_root=FOLDER
_base_ = [
    '../_base_/models/clip_dinoiser_vit-b16_laion2b.py',
    '../_base_/schedules/clip_dinoiser_100e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    guide=dict(weights=None),
    teacher=dict(
        type='DINOTeacher',
        dino=dict(model='dino_vitb16'),
        found=dict(dino=dict(model='dino_vits8_300ep')),
        quantity='values',
        gamma=0.2,
    ),
)
train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='SeededSamplesDataset',
        dataset=dict(
            type='DrawnImagesDataset',
            data_root='data/imagenet/train',
            count=1000,
            resize=dict(scale=(1_000_000, 448), keep_ratio=True),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='RandomCrop', crop_size=(448, 448)),
                dict(type='RandomFlip', prob=0.5),
                dict(type='RandomBrightness', span=(0.5, 1.5)),
                dict(type='PackSegInputs'),
            ],
        ),
    ),
)
default_hooks = dict(checkpoint=dict(by_epoch=True, interval=5, max_keep_ckpts=2))
custom_hooks = [
    dict(type='VocabularyCheckHook'),
    dict(type='RandomStateHook'),
    dict(type='SampleSeedHook'),
]
