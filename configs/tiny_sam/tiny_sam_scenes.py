"""Second round of the embedded tiny SAM: the frame that it is used with."""

_base_ = './tiny_sam_scenes_small.py'

iterations = 2200
warm_up = 100

load_from = 'work_dirs/tiny_sam_scenes_small/iter_4500.pth'
model = dict(sam=dict(image_size=192), rounds=3)
train_dataloader = dict(
    dataset=dict(num_scenes=iterations * 4, size=192, seed=1),
)
train_cfg = dict(max_iters=iterations)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=warm_up),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=warm_up,
        end=iterations,
        T_max=iterations - warm_up,
        eta_min=1e-6,
    ),
]
