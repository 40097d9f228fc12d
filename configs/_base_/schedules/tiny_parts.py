# What the trainings of the small world's own parts share: endless numbered views, on a CPU.
_base_ = '../default_runtime.py'

train_dataloader = dict(
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=False),  # a view's number is its randomness
)
train_cfg = dict(type='IterBasedTrainLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW'))
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=100, max_keep_ckpts=2))
randomness = dict(seed=0)
