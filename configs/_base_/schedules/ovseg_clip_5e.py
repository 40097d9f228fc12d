# Five rounds over the pairs, 100 steps of warm-up, then a cosine to nothing. With the runtime,
# whose hooks it sets. Mixed precision, as published: tools/train.py --amp.
_base_ = '../default_runtime.py'

epochs = 5
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableParamsConstructor',
    optimizer=dict(type='AdamW', lr=5e-6, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2),
    paramwise_cfg=dict(
        custom_keys=dict(
            bias=dict(decay_mult=0.0),
            ln_=dict(decay_mult=0.0),
            class_embedding=dict(decay_mult=0.0),
            logit_scale=dict(decay_mult=0.0),
        )
    ),
)
param_scheduler = [
    dict(type='WarmupCosineLR', warmup=100, end=epochs, by_epoch=True, convert_to_iter_based=True)
]
default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1, max_keep_ckpts=2))
custom_hooks = [
    dict(type='RandomStateHook'),
    dict(type='SampleSeedHook'),
    dict(type='LogitScaleHook'),
]
randomness = dict(seed=0)
