_base_ = './proxyclip.py'

model = dict(
    clip=dict(model='tiny_clip_scenes', pretrained='embedded'),
    encoder=dict(
        companion=dict(model='tiny_dino_scenes'),
        padding='mean',
        padding_multiple=None,
    ),
    data_preprocessor=None,
    text=dict(templates='a(n) {}', logit_scale=None),
    test_cfg=dict(mode='splice', crop_size=(32, 32), stride=(4, 4), window_batch=512),
)
