# ProxyCLIP on the tiny CLIP with the tiny DINO (configs/proxyclip/README.md, which compares windows
# and scales), with their own statistics and temperature.
_base_ = './proxyclip.py'

model = dict(
    clip=dict(model='tiny_clip_scenes', pretrained='embedded'),
    encoder=dict(
        # Both have patches of 8 pixels, so DINO looks at windows four times as large: it is to say
        # more than CLIP's own grid can.
        companion=dict(model='tiny_dino_scenes', scale=4),
        padding_multiple=None,
    ),
    data_preprocessor=None,
    text=dict(templates='a(n) {}', logit_scale=None),
    # Windows as large as the pictures in training: attention and positions are as there.
    test_cfg=dict(crop_size=(32, 32), stride=(16, 16), window_batch=64),
)
