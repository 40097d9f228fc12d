# A training of minutes on a CPU; with the runtime, whose hooks it sets.
_base_ = './ovseg_120k.py'

max_iters = 3000
optim_wrapper = dict(
    optimizer=dict(lr=6e-4),
    paramwise_cfg=dict(custom_keys=dict(_delete_=True, query_embed=dict(decay_mult=0.0))),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=101),
    dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=max_iters + 1),
]
train_cfg = dict(max_iters=max_iters, val_interval=1000)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=1000))
randomness = dict(seed=0)
