"""The embedded tiny FOUND: a linear foreground head on the tiny DINO's keys, without labels."""

_base_ = '../_base_/schedules/tiny_parts.py'

batch_size = 16
iterations = 450

model = dict(
    type='FoundTraining',
    dino='tiny_dino_scenes',
    tau=0.5,
    cover=0.65,  # the background of a scene is up to three materials: more than one seed
    by_region=True,  # the patch that is looked at least lies on an object as often as not
    coarse_steps=400,
    own_weights=(0.0, 5.5),  # with its own mask from the start it finds no foreground at all
)

train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(type='ScenePicturesDataset', num_scenes=iterations * batch_size, size=144),
)
train_cfg = dict(max_iters=iterations)
optim_wrapper = dict(optimizer=dict(lr=1e-2))
param_scheduler = [dict(type='StepLR', by_epoch=False, step_size=50, gamma=0.95)]
