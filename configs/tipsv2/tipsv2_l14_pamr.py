# PAMR behind TIPSv2: masks follow colour edges. Nobody has published it.
_base_ = './tipsv2_l14.py'

model = dict(
    pixel_refiner=dict(type='PAMR', steps=10, dilations=(8, 16)),
    text=dict(logit_scale=40),
    test_cfg=dict(average='scores'),
)
