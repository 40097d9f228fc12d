# 8000 iterations of 8 images on one GPU; the best checkpoint by mIoU is kept. The text encoder
# stays as it is, so it has no learning rate.
_base_ = './denseclip_80k.py'

max_iters = 8000
optim_wrapper = dict(
    constructor='TrainableParamsConstructor',
    paramwise_cfg=dict(
        custom_keys=dict(_delete_=True, backbone=dict(lr_mult=0.1), norm=dict(decay_mult=0.0))
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=500),
    dict(type='PolyLR', power=0.9, eta_min=1e-6, by_epoch=False, begin=0, end=max_iters),
]
train_cfg = dict(max_iters=max_iters, val_interval=500)
default_hooks = dict(checkpoint=dict(interval=500, max_keep_ckpts=2))
auto_scale_lr = dict(base_batch_size=8)
