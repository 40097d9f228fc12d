"""A tiny ConvNeXt CLIP for FC-CLIP on Scenes: pictures learn the words of the tiny CLIP.

Its text tower is that of the tiny CLIP, which learnt from captions, and stays as it is. The
ConvNeXt learns from captions and from what the tiny CLIP says of each patch; from no pixel label.
"""

_base_ = './clip_scenes.py'

batch_size = 64
iterations = 2000
warm_up = 20
falls_from = 1500
picture = 64  # four by four places of the last map, as the tiny CLIP has patches in its pictures

model = dict(
    type='TaughtContrast',
    start='tiny_clip_scenes',
    last_block=dict(attention='kk', residual=True, ffn=True),
    channels_last=True,
    clip=dict(
        vision_cfg=dict(
            _delete_=True,
            timm_model_name='convnext_scenes',
            timm_pool='',
            timm_proj='linear',
            image_size=picture,
        ),
    ),
)
train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(num_views=iterations * batch_size, size=picture, span=(32, 80), seed=4),
)
train_cfg = dict(max_iters=iterations)
optim_wrapper = dict(
    constructor='TrainableParamsConstructor',
    paramwise_cfg=dict(custom_keys=dict(_delete_=True, logit_scale=dict(decay_mult=0.0))),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warm_up),
    dict(
        type='LinearLR',
        start_factor=1.0,
        end_factor=0.01,
        by_epoch=False,
        begin=falls_from,
        end=iterations,
    ),
]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=50, max_keep_ckpts=3))
