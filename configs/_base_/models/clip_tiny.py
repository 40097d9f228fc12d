# The tiny CLIP that ships with ovseg (docs/scenes.md), with its own statistics and temperature.
_base_ = './clip.py'

model = dict(
    clip=dict(model='tiny_clip_scenes', pretrained='embedded'),
    data_preprocessor=None,
    text=dict(templates='a(n) {}', logit_scale=None),
    # Windows as large as the pictures in training: attention and positions are as there.
    test_cfg=dict(crop_size=(32, 32), stride=(16, 16), window_batch=256),
)
