# NACLIP as released (arXiv 2404.08181), PAMR included (model.pixel_refiner=None switches it off).
_base_ = './replaced_attention.py'

model = dict(
    encoder=dict(last_block='naclip', padding='floor'),
    text=dict(logit_scale=40),
    pixel_refiner=dict(type='PAMR', steps=10, dilations=(8, 16)),
    test_cfg=dict(mode='slide', crop_size=(224, 224), stride=(112, 112), normalize_scores=True),
)
