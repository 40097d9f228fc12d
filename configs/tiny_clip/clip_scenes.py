"""The embedded tiny CLIP: contrast between views of Scenes and their captions, no pixel labels."""

_base_ = '../_base_/schedules/tiny_parts.py'

batch_size = 192
iterations = 2400
warm_up = 100
picture = 32  # pixels; captions of close-ups teach what is where

model = dict(
    type='CLIPContrast',
    clip=dict(
        embed_dim=128,
        vision_cfg=dict(
            image_size=picture,
            patch_size=8,
            width=128,
            layers=3,
            head_width=32,
            pool_type='avg',
        ),
        text_cfg=dict(context_length=20, vocab_size=49408, width=96, heads=4, layers=2),
    ),
    # All words of the captions (ovseg.scenes.captions.CAPTION_WORDS).
    words=(
        'red orange yellow green blue purple pink black '
        'star heart ball donut flower fish mushroom kite leaf target '
        'sky the a grass some sand water snow brick wall wooden floor '
        'on and with an picture of photo drawing'
    ),
)

train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(
        type='SceneCaptionsDataset',
        num_views=iterations * batch_size,
        size=picture,
        span=(32, 80),
    ),
)
train_cfg = dict(max_iters=iterations)
optim_wrapper = dict(
    optimizer=dict(lr=2e-3, betas=(0.9, 0.98), weight_decay=0.1),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys=dict(embedding=dict(decay_mult=0.0), logit_scale=dict(decay_mult=0.0)),
    ),
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
