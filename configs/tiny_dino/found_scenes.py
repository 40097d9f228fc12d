"""The embedded tiny FOUND: a linear foreground head on the tiny DINO's keys, without labels."""

_base_ = '../_base_/default_runtime.py'

batch_size = 16
iterations = 300

model = dict(type='FoundTraining', dino='tiny_dino_scenes', tau=0.3, coarse_steps=100)

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=False),  # a scene's number is its randomness
    dataset=dict(type='ScenePicturesDataset', num_scenes=iterations * batch_size, size=144),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=5e-2))
param_scheduler = [dict(type='StepLR', by_epoch=False, step_size=50, gamma=0.95)]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=100, max_keep_ckpts=2))
randomness = dict(seed=0)
