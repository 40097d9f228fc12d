# ProxyCLIP's attention on TIPSv2: values mixed by DINO's similarities. Nobody has published it.
_base_ = './tipsv2_l14.py'

model = dict(
    encoder=dict(
        _delete_=True,
        type='ProxyCLIPEncoder',
        companion=dict(type='DINOCompanion', model='dino_vitb8'),
        beta=1.2,
        gamma=3.0,
        residual=True,
        ffn=True,
        position_resize='antialias_bilinear',
        padding='stretch',
    ),
    text=dict(logit_scale=40),
    test_cfg=dict(average='scores'),
)
