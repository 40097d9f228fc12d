"""Second round of the embedded tiny SAM 3: whole scenes, in the frame that it is used with."""

_base_ = './tiny_sam3_scenes_small.py'

iterations = 2400
warm_up = 30

load_from = 'work_dirs/tiny_sam3_scenes_small/iter_4000.pth'
model = dict(
    sam3=dict(
        vision_config=dict(
            backbone_config=dict(image_size=96),
            backbone_feature_sizes=[[48, 48], [24, 24], [12, 12]],
        ),
    ),
)
train_dataloader = dict(
    dataset=dict(num_scenes=iterations * 4, size=96, span=(110, 192), seed=1),
)
train_cfg = dict(max_iters=iterations)
optim_wrapper = dict(optimizer=dict(lr=6e-4))
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
