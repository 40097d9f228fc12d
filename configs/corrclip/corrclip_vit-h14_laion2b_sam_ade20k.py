_base_ = [
    '../_base_/models/corrclip_vit-h14_laion2b.py',
    '../_base_/protocols/corrclip_ade20k.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=_base_.vocabulary, test_cfg=dict(crop_size=_base_.crop_size))
