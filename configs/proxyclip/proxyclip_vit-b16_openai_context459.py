_base_ = [
    '../_base_/models/proxyclip_vit-b16_openai.py',
    '../_base_/protocols/proxyclip_context459.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary=_base_.vocabulary, test_cfg=dict(crop_size=_base_.crop_size))
