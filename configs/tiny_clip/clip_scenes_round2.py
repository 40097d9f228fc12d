"""Second round of the tiny CLIP: new views, a third of them grey and told without colours."""

_base_ = './clip_scenes.py'

iterations = 1400
warm_up = 50

load_from = 'work_dirs/clip_scenes/iter_2400.pth'
train_dataloader = dict(
    dataset=dict(num_views=iterations * 192, seed=1, grey=0.33),
)
train_cfg = dict(max_iters=iterations)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warm_up),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=warm_up,
        end=iterations,
        T_max=iterations - warm_up,
        eta_min=1e-5,
    ),
]
