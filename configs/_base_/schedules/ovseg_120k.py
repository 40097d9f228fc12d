# 120k iterations of 32 images (8 GPUs x 4), as released with Swin-B; with the runtime, whose hooks
# it sets. The end of each scheduler is one more than its last iteration.
_base_ = '../default_runtime.py'

optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableParamsConstructor',
    optimizer=dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    clip_grad=dict(max_norm=0.01, norm_type=2),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        custom_keys=dict(
            query_embed=dict(decay_mult=0.0), relative_position_bias_table=dict(decay_mult=0.0)
        ),
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1501),
    dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=120001),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=120000, val_interval=5000)
default_hooks = dict(checkpoint=dict(interval=5000))
auto_scale_lr = dict(enable=False, base_batch_size=32)
