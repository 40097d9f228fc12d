# ProxyCLIP on the tiny CLIP with the tiny DINO (configs/proxyclip/README.md, which compares
# windows and scales).
_base_ = ['../_base_/models/proxyclip.py', '../_base_/protocols/tiny.py']

model = dict(
    _base_.settings,
    encoder=dict(
        # Both have patches of 8 pixels, so DINO looks at windows four times as large: it is to say
        # more than CLIP's own grid can.
        companion=dict(model='tiny_dino_scenes', scale=4),
        padding_multiple=None,
    ),
    # Windows as large as the pictures in training: attention and positions are as there.
    test_cfg=dict(crop_size=(32, 32), stride=(16, 16), window_batch=64),
)
