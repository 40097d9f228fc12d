# ProxyCLIP as released (arXiv 2408.04883): values of CLIP mixed by DINO's similarities.
_base_ = './replaced_attention.py'

model = dict(
    encoder=dict(
        type='ProxyCLIPEncoder',
        companion=dict(type='DINOCompanion', model='dino_vitb8'),
        beta=1.2,
        gamma=3.0,
        padding='centred',
        padding_multiple=56,
    ),
    text=dict(logit_scale=40),
    test_cfg=dict(mode='slide', crop_size=(336, 336), stride=(112, 112)),
)
