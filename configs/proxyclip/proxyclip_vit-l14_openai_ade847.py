_base_ = [
    '../_base_/models/proxyclip_vit-l14_openai.py',
    '../_base_/protocols/proxyclip_ade847.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=_base_.vocabulary, test_cfg=dict(crop_size=_base_.crop_size))
