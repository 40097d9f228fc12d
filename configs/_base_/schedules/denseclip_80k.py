# 80k iterations of 32 images (8 GPUs x 4), as released; with the runtime, whose hooks it sets.
_base_ = '../default_runtime.py'

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-4),
    paramwise_cfg=dict(
        custom_keys=dict(
            backbone=dict(lr_mult=0.1), text_encoder=dict(lr_mult=0.0), norm=dict(decay_mult=0.0)
        )
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', power=0.9, eta_min=1e-6, by_epoch=False, begin=0, end=80000),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=80000, val_interval=8000)
default_hooks = dict(checkpoint=dict(interval=8000, save_best='mIoU'))
auto_scale_lr = dict(enable=False, base_batch_size=32)
