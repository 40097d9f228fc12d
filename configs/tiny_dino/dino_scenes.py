"""The embedded tiny DINO: self-distillation on unlabelled views of Scenes."""

_base_ = '../_base_/schedules/tiny_parts.py'

batch_size = 32
iterations = 1600
warm_up = 100

model = dict(
    type='SelfDistillation',
    vit=dict(
        img_size=48,
        patch_size=8,
        embed_dim=128,
        depth=4,
        num_heads=4,
        num_classes=0,
        dynamic_img_size=True,  # crops of two sizes, scenes of any
    ),
    head=dict(prototypes=512, hidden=512, bottleneck=128),
    iterations=iterations,
    momentum=0.99,
    teacher_temperature=(0.02, 0.03),
    warm_up=iterations,
    balance='sinkhorn',  # with the centre the targets go flat within 250 updates
    frozen_prototypes=60,
)

train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(
        type='SceneCropsDataset',
        num_views=iterations * batch_size,
        view=72,
        span=(64, 108),
        global_size=48,
        local_size=24,
        num_local=6,
        global_scale=(0.4, 1.0),
        local_scale=(0.06, 0.4),
        jitter=(0.4, 0.4, 0.2, 0.05),
        grey=0.1,
    ),
)
train_cfg = dict(max_iters=iterations)
optim_wrapper = dict(
    optimizer=dict(lr=1e-3, weight_decay=0.04),
    clip_grad=dict(max_norm=3.0),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warm_up),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=warm_up,
        end=iterations,
        T_max=iterations - warm_up,
        eta_min=1e-6,
    ),
    # From 0.04 to 0.4; a ratio leaves the parameters without decay without it.
    dict(
        type='CosineAnnealingParamScheduler',
        param_name='weight_decay',
        by_epoch=False,
        begin=0,
        end=iterations,
        T_max=iterations,
        eta_min_ratio=10,
    ),
]
