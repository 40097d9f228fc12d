# Twenty epochs over kept features: seconds each.
_base_ = '../default_runtime.py'

train_cfg = dict(type='FrozenFeatureLoop', max_epochs=20)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.0))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, T_max=20)]
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(by_epoch=True, interval=5))
randomness = dict(seed=0)
