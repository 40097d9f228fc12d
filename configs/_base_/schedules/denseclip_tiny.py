# A training of minutes on a CPU; with the runtime, whose hooks it sets.
_base_ = '../default_runtime.py'

max_iters = 600
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableParamsConstructor',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=1e-2),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.5), norm=dict(decay_mult=0.0))),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=30),
    dict(type='PolyLR', power=0.9, eta_min=1e-6, by_epoch=False, begin=0, end=max_iters),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=200)
default_hooks = dict(
    logger=dict(interval=20), checkpoint=dict(interval=200, save_best='mIoU', max_keep_ckpts=2)
)
randomness = dict(seed=0)
