"""The embedded tiny SigLIP: the tiny CLIP goes on learning captions, pair by pair.

A sigmoid loss, a vision tower of timm's and a pooling by attention.
"""

_base_ = '../tiny_clip/clip_scenes.py'

iterations = 400
warm_up = 20

model = dict(
    loss='sigmoid',
    start='tiny_clip_scenes',
    clip=dict(
        custom_text=True,
        # The temperature is the tiny CLIP's; with this bias its right pairs score near 0.
        init_logit_bias=-20.0,
        vision_cfg=dict(
            _delete_=True,
            image_size=32,
            timm_model_name='vit_scenes_patch8_32',
            timm_pool='map',
            timm_proj='none',
        ),
    ),
)
train_dataloader = dict(dataset=dict(num_views=iterations * 192, seed=2, grey=0.33))
train_cfg = dict(max_iters=iterations)
optim_wrapper = dict(
    optimizer=dict(lr=1e-3, betas=(0.9, 0.95)),
    paramwise_cfg=dict(custom_keys=dict(logit_bias=dict(decay_mult=0.0))),
)
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
default_hooks = dict(logger=dict(interval=5), checkpoint=dict(interval=25, max_keep_ckpts=4))
